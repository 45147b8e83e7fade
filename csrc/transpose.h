/* Square tiles of numbers, rows to columns, in the registers that copy records to packs and back. */
#ifndef REFSGD_TRANSPOSE_H
#define REFSGD_TRANSPOSE_H

#include "internal.h"

/* Vectors have 32 bytes where there is a clone for AVX, else 16, as on most processors. They are read and written
 * as they are, not through memcpy: gcc cuts that into halves, and reading the halves as one vector is slow. */
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

/* v[i][j] becomes v[j][i]. */
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

#endif
