/* Moments of per-sample gradients, column by column.
 *
 *   mean_i = 1/n sum_j g_ji        mean_sq_i = 1/n sum_j g_ji^2
 *   curvature: the same of |g_ji - g'_ji| / |x_i - x'_i|, 0 where the probe did not move
 *
 * Rows are added in order, a tile of columns at a time, so the sums stay in cache.
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "moments.inc"
#include "real.h"
