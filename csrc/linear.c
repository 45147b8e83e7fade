/* Online vSGD of a linear model with loss l(x . theta, y), sample by sample over sparse rows.
 *
 *   gradient   g_i = l' x_i
 *   curvature  h_i = l" |x_i| s_i sum_k |x_k| / s_k     s = root mean square of the feature
 *   averages   a += (value - a) / tau                   for g, g^2, h; after the first sample tau = 1.5
 *   step       rho = g_avg^2 / g2_avg;   theta -= sqrt(rho) / h_avg g;   tau = (1 - rho) tau + 1
 *   penalty    theta /= (1 + rate alpha)^passed          when next touched, for all samples passed by
 *
 * All of a parameter lies in one record: half a cache line in f32, one in f64.
 */
#include <math.h>

#include "internal.h"

enum { LOG, HINGE, SQUARED_HINGE, MODIFIED_HUBER, SQUARED, HUBER, INSENSITIVE, POISSON };
#define FIRST_TAU 1.5
#define MAX_LOG_MEAN 80.0

typedef struct {
    double value, slope, curv;
} loss_at;

/* reference.linear_loss */
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

#define TEMPLATE "linear.inc"
#include "real.h"
