/* Includes the file named by TEMPLATE twice, once for each type of number. */
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define NAME(stem) PASTE(stem, SUFFIX)

#define REAL float
#define SUFFIX _f32
#define EPSILON 1.1920928955078125e-07f
#define FLAG int32_t
#define LARGEST FLT_MAX
#define MAX_CURV 0x1p62f
#define TINY 0x1p-40f
#define MAX_COUNT 0x1p24f
#define SQRT sqrtf
#define FABS fabsf
#define COPYSIGN copysignf
#include TEMPLATE
#undef REAL
#undef SUFFIX
#undef EPSILON
#undef FLAG
#undef LARGEST
#undef MAX_CURV
#undef TINY
#undef MAX_COUNT
#undef SQRT
#undef FABS
#undef COPYSIGN

#define REAL double
#define SUFFIX _f64
#define EPSILON 2.220446049250313e-16
#define FLAG int64_t
#define LARGEST DBL_MAX
#define MAX_CURV 0x1p510
#define TINY 0x1p-300
#define MAX_COUNT 0x1p53
#define SQRT sqrt
#define FABS fabs
#define COPYSIGN copysign
#include TEMPLATE
