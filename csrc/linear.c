/* Online vSGD of a linear model with loss l(x . theta, y), over sparse or dense rows.
 *
 *   gradient   g_i = l' x_i
 *   curvature  h_i = l" |x_i| s_i sum_k |x_k| / s_k     s = root mean square of the feature
 *   averages   a += (value - a) / tau                   for g, g^2, h; after the first sample tau = 1.5
 *   step       rho = g_avg^2 / g2_avg;   theta -= min(sqrt(rho) / h_avg, 1 / h) g;   tau = (1 - rho) tau + 1
 *   penalty    theta /= (1 + rate alpha)^passed          when next touched, for all samples passed by;
 *              it counts in rho with its own gradient and curvature
 *
 * A sample without a slope counts for g and g^2, not for h. Where an entry is larger than all before it
 * together, theta is first brought to the new scale: theta *= s_before / s.
 *
 * All of a parameter lies in one record: half a cache line in f32, one in f64. The records of a row are
 * transposed on the way in and out, so that the arithmetic between runs over plain arrays.
 */
#include <math.h>
#include <stdlib.h>

#include "internal.h"

enum { LOG, HINGE, SQUARED_HINGE, MODIFIED_HUBER, SQUARED, HUBER, INSENSITIVE, POISSON, MULTINOMIAL };
#define FIRST_TAU 1.5
#define MAX_SCORE 1e30
#define MAX_LOG_MEAN 80.0

typedef struct {
    double value, slope, curv;
} loss_at;

/* What is only needed with a penalty or an average: the sum of theta over samples, and rate * alpha. */
typedef struct {
    double sum, pull;
} lazy;

static double inside(double score)
{
    return fmax(fmin(score, MAX_SCORE), -MAX_SCORE);
}

/* reference_linear.loss_at */
static loss_at linear_loss(int loss, double z, double y, double epsilon, double spread)
{
    double margin = y * z, residual = z - y, size = fabs(residual), gap = margin < 1 ? 1 - margin : 0;
    if (loss == MODIFIED_HUBER && margin >= -1)
        loss = SQUARED_HINGE;
    if (loss == HUBER && size <= epsilon)
        loss = SQUARED;
    switch (loss) {
    case LOG: {
        double e = exp(-fabs(margin)), wrong = (margin > 0 ? e : 1) / (1 + e);
        return (loss_at){log1p(e) + fmax(-margin, 0), -y * wrong, fmax(wrong * (1 - wrong), wrong / 4)};
    }
    case HINGE:
        return (loss_at){gap, margin < 1 ? -y : 0, 1 / fmax(gap, 1)};
    case SQUARED_HINGE:
        return (loss_at){gap * gap, -2 * y * gap, 2};
    case MODIFIED_HUBER:
        return (loss_at){-4 * margin, -4 * y, 4 / gap};
    case SQUARED:
        return (loss_at){size * size / 2, residual, 1};
    case HUBER:
        return (loss_at){epsilon * (size - epsilon / 2), copysign(epsilon, residual), epsilon / size};
    case INSENSITIVE:
        return (loss_at){fmax(size - epsilon, 0), size > epsilon ? copysign(1, residual) : 0,
                         size > 0 ? 1 / fmax(size, spread) : 1};
    default: {
        double mean = exp(fmin(z, MAX_LOG_MEAN));
        return (loss_at){mean - y * z, mean - y, fmax(mean, y)};
    }
    }
}

/* The same of softmax scores, class by class; the loss is that of each. */
static void multinomial(const double *score, size_t n_outputs, size_t label, loss_at *at)
{
    double top = score[0], total = 0;
    for (size_t k = 1; k < n_outputs; ++k)
        top = fmax(top, score[k]);
    for (size_t k = 0; k < n_outputs; ++k) {
        at[k].curv = exp(score[k] - top);
        total += at[k].curv;
    }
    double value = log(total) + top - score[label];
    for (size_t k = 0; k < n_outputs; ++k) {
        double p = at[k].curv / total, slope = p - (k == label);
        at[k] = (loss_at){value, slope, fmax(2 * p * (1 - p), fabs(slope) / 2)};
    }
}

/* Vectors in which records move: of 32 bytes where there is a clone for AVX, else of 16, as most processors have.
 * As they are, not through memcpy, which gcc cuts into halves: reading these as one again is slow. */
#if HAS_CLONES
typedef float vector_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double vector_f64 __attribute__((vector_size(32), aligned(8), may_alias));
#else
typedef float vector_f32 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double vector_f64 __attribute__((vector_size(16), aligned(8), may_alias));
#endif
typedef int32_t mask_f32 __attribute__((vector_size(sizeof(vector_f32))));
typedef int64_t mask_f64 __attribute__((vector_size(sizeof(vector_f64))));
#define SHUFFLE __builtin_shufflevector

/* Rows to columns. */
#if HAS_CLONES
ALWAYS_INLINE void transpose_f32(vector_f32 v[8])
{
    vector_f32 pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = SHUFFLE(v[i], v[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pairs[i + 1] = SHUFFLE(v[i], v[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            quads[i + 2 * j] = SHUFFLE(pairs[i + j], pairs[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            quads[i + 2 * j + 1] = SHUFFLE(pairs[i + j], pairs[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; ++i) {
        v[i] = SHUFFLE(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        v[i + 4] = SHUFFLE(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

ALWAYS_INLINE void transpose_f64(vector_f64 v[4])
{
    vector_f64 pairs[4];
    for (int i = 0; i < 4; i += 2) {
        pairs[i] = SHUFFLE(v[i], v[i + 1], 0, 4, 2, 6);
        pairs[i + 1] = SHUFFLE(v[i], v[i + 1], 1, 5, 3, 7);
    }
    for (int i = 0; i < 2; ++i) {
        v[i] = SHUFFLE(pairs[i], pairs[i + 2], 0, 1, 4, 5);
        v[i + 2] = SHUFFLE(pairs[i], pairs[i + 2], 2, 3, 6, 7);
    }
}
#else
ALWAYS_INLINE void transpose_f32(vector_f32 v[4])
{
    vector_f32 pairs[4];
    for (int i = 0; i < 4; i += 2) {
        pairs[i] = SHUFFLE(v[i], v[i + 1], 0, 4, 1, 5);
        pairs[i + 1] = SHUFFLE(v[i], v[i + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; ++i) {
        v[2 * i] = SHUFFLE(pairs[i], pairs[i + 2], 0, 1, 4, 5);
        v[2 * i + 1] = SHUFFLE(pairs[i], pairs[i + 2], 2, 3, 6, 7);
    }
}

ALWAYS_INLINE void transpose_f64(vector_f64 v[2])
{
    vector_f64 first = v[0];
    v[0] = SHUFFLE(first, v[1], 0, 2);
    v[1] = SHUFFLE(first, v[1], 1, 3);
}
#endif

#define TEMPLATE "linear.inc"
#include "real.h"
