/* The default rule, parameter by parameter. kernels/dense_numpy.py is its oracle, line by line.
 *
 *   outlier   (g - m)^2 > 4 |v - m^2|:   tau += 1
 *   averages  m += (g - m) / tau,   v += (g^2 - v) / tau
 *   share     rho = min(m^2 / v, 1),   tau = (1 - rho) tau + 1
 *   step      x -= S |m| / v * (g within m +- 3 sqrt|v - m^2|)
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "dense.inc"
#include "real.h"
