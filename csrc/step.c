/* The dense vSGD step, parameter by parameter. kernels/reference.py is its oracle, line by line.
 *
 *   outlier   (g - g_avg)^2 > limit_grad (g2_avg - g_avg^2), or likewise for h:   tau += 1
 *   averages  a += (value - a) / tau                          for g, g^2, h, h^2
 *   signal    rho = n g_avg^2 / (g2_avg + (n-1) g_avg^2)
 *   rate      rho^(3/4) / sqrt(h_avg^2 + var(h)/tau)          default
 *             h_avg/h2_avg rho                                                    faithful, vSGD-fd
 *             rho/h_avg                                                           faithful, vSGD-l
 *   memory    tau = (1 - rho) tau + 1;   x -= rate g
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "step.inc"
#include "real.h"
