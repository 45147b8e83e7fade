/* Cuts the columns of an array into one span a thread. The only file that knows OpenMP.
 *
 * Spans end between blocks, and no kernel adds across blocks: the number of threads changes no bit.
 */
#include <stdlib.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "internal.h"

int refsgd_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* OpenMP's own number for this thread, which the environment and threadpoolctl set, is the limit above `most`. */
int refsgd_threads(int most)
{
#ifdef _OPENMP
    int limit = omp_get_max_threads();
    return most < limit ? most : limit;
#else
    (void)most;
    return 1;
#endif
}

void refsgd_allow_threads(int n)
{
#ifdef _OPENMP
    if (omp_get_max_threads() < n)
        omp_set_num_threads(n);
#else
    (void)n;
#endif
}

#ifdef _OPENMP
/* A team of threads does not survive fork: a child that enters a parallel region would wait for ever. */
static int is_forked(void)
{
    static pid_t team_owner = 0;
    pid_t me = getpid();
    pid_t nobody = 0;
    __atomic_compare_exchange_n(&team_owner, &nobody, me, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return __atomic_load_n(&team_owner, __ATOMIC_RELAXED) != me;
}
#endif

/* Below this many columns a thread, waking it costs more than it saves. */
enum { MIN_COLUMNS = 131072 };

void refsgd_over_spans(span_fn span, const void *job, size_t d, int threads)
{
#ifdef _OPENMP
    size_t blocks = (d + REFSGD_BLOCK - 1) / REFSGD_BLOCK;
    size_t n_spans = d / MIN_COLUMNS, most = n_spans > 1 ? (size_t)refsgd_threads(threads) : 1;
    if (n_spans > most)
        n_spans = most;
    if (n_spans > 1 && !is_forked()) {
#pragma omp parallel for num_threads((int)n_spans) schedule(static, 1)
        for (size_t s = 0; s < n_spans; ++s) {
            size_t begin = blocks * s / n_spans * REFSGD_BLOCK;
            size_t end = blocks * (s + 1) / n_spans * REFSGD_BLOCK;
            span(job, begin, end < d ? end : d);
        }
        return;
    }
#else
    (void)threads;
#endif
    span(job, 0, d);
}

const char *refsgd_instruction_set(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return "x86-64-v4 (AVX-512)";
    if (__builtin_cpu_supports("avx2"))
        return "x86-64-v3 (AVX2)";
    return "x86-64 (SSE2)";
#elif defined(__aarch64__)
    return "arm64 (NEON)";
#else
    return "portable C";
#endif
}
