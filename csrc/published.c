/* The published vSGD step, parameter by parameter. kernels/published_numpy.py is its oracle, line by line.
 *
 *   probe     x + g_avg
 *   outlier   (g - g_avg)^2 > limit (g2_avg - g_avg^2), or likewise for h:   tau += 1
 *   averages  a += (value - a) / tau                          for g, g^2, h, h^2
 *   signal    rho = n g_avg^2 / (g2_avg + (n-1) g_avg^2)
 *   rate      h_avg/h2_avg rho                                vSGD-fd
 *             rho/h_avg                                       vSGD-l
 *   memory    tau = (1 - g_avg^2/g2_avg) tau + 1;   x -= rate g
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "published.inc"
#include "real.h"
