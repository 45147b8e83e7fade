/* What the C files share: dispatch by instruction set, and the cutting of arrays into spans. */
#ifndef REFSGD_INTERNAL_H
#define REFSGD_INTERNAL_H

#include "refsgd_kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Without fused multiply-add contraction (-ffp-contract=off) every clone gives the same bits. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    __GNUC__ >= 12 && !defined(REFSGD_NO_CLONES)
#define HAS_CLONES 1
#define CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define HAS_CLONES 0
#define CLONES
#endif

/* Before a loop: no two of its arrays overlap. */
#ifdef __clang__
#define IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define IVDEP _Pragma("GCC ivdep")
#endif

/* A span covers columns [begin, end); begin is a multiple of REFSGD_BLOCK. */
typedef void (*span_fn)(const void *job, size_t begin, size_t end);
void refsgd_over_spans(span_fn span, const void *job, size_t d, int threads);

#endif
