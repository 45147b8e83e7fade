/* Includes the file named by TEMPLATE twice, once for each type of number. */
#include <float.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define NAME(stem) PASTE(stem, SUFFIX)

#define REAL float
#define SUFFIX _f32
#define EPSILON FLT_EPSILON
#define FLAG int32_t
#define LARGEST FLT_MAX
#define MAX_CURV REFSGD_MAX_CURV_F32
#define SMALLEST_ENTRY REFSGD_SMALLEST_ENTRY_F32
#define MAX_COUNT REFSGD_MAX_COUNT_F32
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
#undef SMALLEST_ENTRY
#undef MAX_COUNT
#undef SQRT
#undef FABS
#undef COPYSIGN

#define REAL double
#define SUFFIX _f64
#define EPSILON DBL_EPSILON
#define FLAG int64_t
#define LARGEST DBL_MAX
#define MAX_CURV REFSGD_MAX_CURV_F64
#define SMALLEST_ENTRY REFSGD_SMALLEST_ENTRY_F64
#define MAX_COUNT REFSGD_MAX_COUNT_F64
#define SQRT sqrt
#define FABS fabs
#define COPYSIGN copysign
#include TEMPLATE
