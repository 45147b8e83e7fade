/* Online vSGD of a linear model with loss l(x . theta, y) over sparse or dense samples.
 *
 *   gradient   g_i = l' x_i
 *   curvature  h_i = l" |x_i| s_i sum_k |x_k| / s_k     s = root mean square of the feature
 *   averages   a += (value - a) / tau                   for g, g^2, h; after the first sample tau = FIRST_TAU
 *   step       rho = g_avg^2 / g2_avg;   theta -= min(sqrt(rho) / h_avg, 1 / h) g;   tau = (1 - rho) tau + 1
 *   penalty    theta /= (1 + rate alpha)^passed          at the next touch, for all samples since the last;
 *              its gradient and curvature count in rho and the rate
 *
 * A sample without a slope counts for g and g^2, not for h. Where an entry is larger than all before it
 * together, theta is first brought to the new scale: theta *= s_before / s. docs/linear.md derives the rule,
 * refsgd/kernels/linear_numpy.py is its oracle.
 *
 * Each parameter has one record: half a cache line in f32, a whole one in f64. Of every sample, 16 records at
 * a time are transposed into a pack and back, so that the arithmetic between runs over plain arrays.
 */
#include <math.h>
#include <stdlib.h>

#include "internal.h"
#include "transpose.h"

typedef struct {
    double value, slope, curv;
} loss_at;

/* Needed only with a penalty or an average: the sum of theta over samples, and rate * alpha. */
typedef struct {
    double sum, pull;
} lazy;

/* The same as refsgd/linear/losses.py. */
static loss_at linear_loss(int loss, double z, double y, double epsilon, double spread)
{
    double margin = y * z, residual = z - y, size = fabs(residual), gap = margin < 1 ? 1 - margin : 0;
    if (loss == REFSGD_MODIFIED_HUBER && margin >= -1)
        loss = REFSGD_SQUARED_HINGE;
    if (loss == REFSGD_HUBER && size <= epsilon)
        loss = REFSGD_SQUARED;
    switch (loss) {
    case REFSGD_LOG: {
        double e = exp(-fabs(margin)), wrong = (margin > 0 ? e : 1) / (1 + e);
        return (loss_at){log1p(e) + fmax(-margin, 0), -y * wrong, fmax(wrong * (1 - wrong), wrong / 4)};
    }
    case REFSGD_HINGE:
        return (loss_at){gap, margin < 1 ? -y : 0, 1 / fmax(gap, 1)};
    case REFSGD_SQUARED_HINGE:
        return (loss_at){gap * gap, -2 * y * gap, 2};
    case REFSGD_MODIFIED_HUBER:
        return (loss_at){-4 * margin, -4 * y, 4 / gap};
    case REFSGD_SQUARED:
        return (loss_at){size * size / 2, residual, 1};
    case REFSGD_HUBER:
        return (loss_at){epsilon * (size - epsilon / 2), copysign(epsilon, residual), epsilon / size};
    case REFSGD_INSENSITIVE:
        return (loss_at){fmax(size - epsilon, 0), size > epsilon ? copysign(1, residual) : 0,
                         size > 0 ? 1 / fmax(size, spread) : 1};
    default: {
        double mean = exp(fmin(z, REFSGD_MAX_LOG_MEAN));
        return (loss_at){mean - y * z, mean - y, fmax(mean, y)};
    }
    }
}

/* The same for softmax scores, class by class; each gets the value of the whole loss. */
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

/* A loop over the records of a pack, whose arrays do not overlap. */
#define EACH_LANE IVDEP for (size_t i = 0; i < REFSGD_LANES; ++i)

#define TEMPLATE "linear.inc"
#include "real.h"
