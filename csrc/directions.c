/* Statistics of directions: u_j = s_j x_j, with weight w_j, about a reference direction c.
 *
 *   squares   |x_j|^2, which gives s_j = |x_j|^-1; s_j = 1 for unit vectors
 *   near      S_b += w_j (u_j - c)      Q_b += w_j |u_j - c|^2        if vector j is in fold b
 *   far       S_b += T - W c            Q_b += 2 max(W - T . c, 0)    T = sum w_j u_j,  W = sum w_j
 *
 * Near and far are equal for unit vectors. Far takes fewer operations but cancels where directions are close
 * to c: FAR in kernels/contract.py says when it is allowed. A chunk of vectors stays in cache between its
 * squares and its sums. The oracle is kernels/directions_numpy.py.
 */
#include <math.h>

#include "internal.h"

#define LANES REFSGD_DIRECTION_LANES
#define TILE REFSGD_BLOCK

/* Unrolled, GCC would split it into scalars. */
#define ADD_HALF(half)                  \
    _Pragma("GCC unroll 1")             \
    for (size_t k = 0; k < (half); ++k) \
        lanes[k] += lanes[k + (half)];

/* The first n lanes, halves added to halves. */
ALWAYS_INLINE double tree(double *lanes, size_t n)
{
    if (n >= 32)
        ADD_HALF(16)
    if (n >= 16)
        ADD_HALF(8)
    if (n >= 8)
        ADD_HALF(4)
    if (n >= 4)
        ADD_HALF(2)
    return n >= 2 ? lanes[0] + lanes[1] : lanes[0];
}

/* A sum over n columns in the order of the contract; ADD(size) adds columns i ... i + size - 1 to lanes. */
#define REST(size, n, ADD)            \
    if ((n) & (size)) {               \
        double lanes[size] = {0};     \
        ADD(size);                    \
        sum += tree(lanes, size);     \
        i += (size);                  \
    }
#define SUM(n, ADD)                                \
    double sum = 0;                                \
    size_t i = 0;                                  \
    if ((n) >= LANES) {                            \
        double lanes[LANES] = {0};                 \
        for (; i + LANES <= (n); i += LANES)       \
            ADD(LANES);                            \
        sum = tree(lanes, LANES);                  \
    }                                              \
    REST(16, n, ADD)                               \
    REST(8, n, ADD)                                \
    REST(4, n, ADD)                                \
    REST(2, n, ADD)                                \
    REST(1, n, ADD)

static double total(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; ++i)
        sum += values[i];
    return sum;
}

#define TEMPLATE "directions.inc"
#include "real.h"
