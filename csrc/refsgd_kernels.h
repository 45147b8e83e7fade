/* The whole C interface of refsgd. build_cffi.py reads what stands between the two CFFI marks.
 *
 * Every kernel comes as _f32 and _f64, checks nothing, and returns a status code. Constants are in constants.h,
 * which build_cffi.py writes.
 * `state` of a published rule holds six rows of `width` >= d numbers each: x, g_avg, g2_avg, h_avg, h2_avg, tau.
 */
#ifndef REFSGD_KERNELS_H
#define REFSGD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "constants.h"

/* CFFI BEGIN */
#define REFSGD_ABI_VERSION 9

enum {
    REFSGD_OK,
    REFSGD_NO_MEMORY,
    REFSGD_UNFIT /* numbers are not finite, or vectors not of a length within the bounds */
};

const char *refsgd_instruction_set(void);
int refsgd_has_openmp(void);
int refsgd_threads(int most);      /* how many threads a kernel may use that is given `most` */
void refsgd_allow_threads(int n);  /* raise OpenMP's number for this thread to n where it is lower */

/* The default rule: see kernels/contract.py. `state` holds rows x, m, v, tau, and x_avg where has_average, of
 * `width` numbers each, of which those from `begin` on are meant. */
int refsgd_dense_check_f32(const float *grad, size_t d, double unit, double *sums, int threads);
int refsgd_dense_probe_f32(float *state, size_t width, size_t begin, size_t d, double length, float *point,
                          int threads);
int refsgd_dense_land_f32(float *state, size_t width, size_t begin, size_t d, const float *grad, double unit,
                         double length, float *point, int threads);
int refsgd_dense_secant_f32(float *state, size_t width, size_t begin, size_t d, float *point,
                           const float *grad, const float *point_grad, double unit, double *sums,
                           int threads);
int refsgd_dense_step_f32(float *state, size_t width, int has_average, size_t begin, size_t d,
                         const float *grad, double factor, double length, double weight, double *sums,
                         int threads);
/* check, guard and step of the whole state; REFSGD_UNFIT, and nothing changed, where grad is not finite */
int refsgd_dense_advance_f32(float *state, size_t width, int has_average, size_t d, const float *grad,
                            double unit, double g2_sum, double length, double weight, double *energy,
                            double *sums, int threads);
/* the roof: in place, as many streams as a step (1 read, 4 updates), trivial arithmetic */
int refsgd_dense_twin_f32(float *state, size_t width, size_t d, const float *grad, int threads);

int refsgd_dense_check_f64(const double *grad, size_t d, double unit, double *sums, int threads);
int refsgd_dense_probe_f64(double *state, size_t width, size_t begin, size_t d, double length, double *point,
                          int threads);
int refsgd_dense_land_f64(double *state, size_t width, size_t begin, size_t d, const double *grad, double unit,
                         double length, double *point, int threads);
int refsgd_dense_secant_f64(double *state, size_t width, size_t begin, size_t d, double *point,
                           const double *grad, const double *point_grad, double unit, double *sums,
                           int threads);
int refsgd_dense_step_f64(double *state, size_t width, int has_average, size_t begin, size_t d,
                         const double *grad, double factor, double length, double weight, double *sums,
                         int threads);
/* check, guard and step of the whole state; REFSGD_UNFIT, and nothing changed, where grad is not finite */
int refsgd_dense_advance_f64(double *state, size_t width, int has_average, size_t d, const double *grad,
                            double unit, double g2_sum, double length, double weight, double *energy,
                            double *sums, int threads);
/* the roof: in place, as many streams as a step (1 read, 4 updates), trivial arithmetic */
int refsgd_dense_twin_f64(double *state, size_t width, size_t d, const double *grad, int threads);

/* mean and mean square, unless that is NULL, of each column of rows (n, d); REFSGD_UNFIT where one of them, or
 * the square of a mean, is not finite */
int refsgd_moments_f32(const float *rows, size_t n, size_t d, float *mean, float *mean_sq, int threads);
int refsgd_moments_f64(const double *rows, size_t n, size_t d, double *mean, double *mean_sq, int threads);

/* mean and mean square of the per-sample secant curvatures |rows - probe_rows| / |x - point| */
int refsgd_curvature_f32(const float *rows, const float *probe_rows, const float *x, const float *point,
                         size_t n, size_t d, float *mean, float *mean_sq, int threads);
int refsgd_curvature_f64(const double *rows, const double *probe_rows, const double *x, const double *point,
                         size_t n, size_t d, double *mean, double *mean_sq, int threads);

/* the published probe point x + g_avg */
int refsgd_published_probe_f32(float *state, size_t width, size_t d, float *point, int threads);
int refsgd_published_probe_f64(double *state, size_t width, size_t d, double *point, int threads);

/* PublishedMoments and StepRule of kernels/contract.py */
typedef struct {
    const float *grad, *grad_sq, *curv, *curv_sq;
} refsgd_published_moments_f32;
typedef struct {
    const double *grad, *grad_sq, *curv, *curv_sq;
} refsgd_published_moments_f64;
typedef struct {
    double limit;
    int variant;
} refsgd_step_rule;

/* one published step along `move` from the moments of a minibatch of n samples */
int refsgd_published_step_f32(float *state, size_t width, size_t d, refsgd_published_moments_f32 moments,
                              const float *move, double n, refsgd_step_rule rule, int threads);
int refsgd_published_step_f64(double *state, size_t width, size_t d, refsgd_published_moments_f64 moments,
                              const double *move, double n, refsgd_step_rule rule, int threads);

/* the same with the curvature by finite differences; grad_sq == NULL: grad * grad, a single sample */
int refsgd_published_step_fd_f32(float *state, size_t width, size_t d, const float *grad, const float *grad_sq,
                                 const float *probe_grad, double n, double limit, int threads);
int refsgd_published_step_fd_f64(double *state, size_t width, size_t d, const double *grad,
                                 const double *grad_sq, const double *probe_grad, double n, double limit,
                                 int threads);

/* the same for the k parameters at `columns`, of which each has a number of samples of its own */
int refsgd_published_step_at_f32(float *state, size_t width, const int64_t *columns, const int64_t *count,
                                 size_t k, refsgd_published_moments_f32 moments, refsgd_step_rule rule);
int refsgd_published_step_at_f64(double *state, size_t width, const int64_t *columns, const int64_t *count,
                                 size_t k, refsgd_published_moments_f64 moments, refsgd_step_rule rule);

/* sum the nnz entries of sparse rows by column; returns the number of columns; `slots` as in contract.py */
size_t refsgd_collect_f32(const int64_t *indices, const float *data, size_t nnz, int32_t *slots,
                          int64_t *columns, int64_t *count, float *total, float *total_sq);
size_t refsgd_collect_f64(const int64_t *indices, const double *data, size_t nnz, int32_t *slots,
                          int64_t *columns, int64_t *count, double *total, double *total_sq);

/* add entries to `total` in those of the k columns that were collected */
int refsgd_add_f32(const int64_t *indices, const float *data, size_t nnz, const int32_t *slots,
                   const int64_t *columns, size_t k, float *total);
int refsgd_add_f64(const int64_t *indices, const double *data, size_t nnz, const int32_t *slots,
                   const int64_t *columns, size_t k, double *total);

/* Csr of kernels/contract.py: samples with indices of 32 or of 64 bits, or dense where indptr is NULL */
typedef struct {
    const int64_t *indptr;
    const int32_t *indices32;
    const int64_t *indices64;
    const float *data;
} refsgd_csr_f32;
typedef struct {
    const int64_t *indptr;
    const int32_t *indices32;
    const int64_t *indices64;
    const double *data;
} refsgd_csr_f64;

/* LinearRule, LinearState and the arguments of Linear, as in kernels/contract.py; n is the length of order */
typedef struct {
    int loss;
    double epsilon, alpha;
    size_t batch_size;
    int has_intercept;
} refsgd_linear_rule;
typedef struct {
    float *records;
    double *lazy, *totals;
    size_t d, n_outputs;
} refsgd_linear_state_f32;
typedef struct {
    refsgd_linear_state_f32 state;
    refsgd_csr_f32 samples;
    const float *y, *weights;
    const int64_t *order;
    size_t n;
    refsgd_linear_rule rule;
} refsgd_linear_job_f32;
int refsgd_linear_f32(const refsgd_linear_job_f32 *job);
typedef struct {
    double *records;
    double *lazy, *totals;
    size_t d, n_outputs;
} refsgd_linear_state_f64;
typedef struct {
    refsgd_linear_state_f64 state;
    refsgd_csr_f64 samples;
    const double *y, *weights;
    const int64_t *order;
    size_t n;
    refsgd_linear_rule rule;
} refsgd_linear_job_f64;
int refsgd_linear_f64(const refsgd_linear_job_f64 *job);

/* the flaws found in n rows whose indptr is sound: flags, see RowFlaws in kernels/contract.py */
int refsgd_row_flaws_f32(const refsgd_csr_f32 *samples, size_t n, size_t n_entries, size_t d, double bound);
int refsgd_row_flaws_f64(const refsgd_csr_f64 *samples, size_t n, size_t n_entries, size_t d, double bound);

/* sum of squares of each row */
int refsgd_squares_f32(const float *rows, size_t n, size_t d, double *squares);
int refsgd_squares_f64(const double *rows, size_t n, size_t d, double *squares);

/* add the directions of n vectors to the sums of k folds: see DirectionBatch and FoldArrays of
 * kernels/contract.py; REFSGD_UNFIT where a square is not in [least, most] */
typedef struct {
    const float *rows;       /* (n, d) */
    const double *weights; /* (n,), or NULL: all 1 */
    double *squares;       /* (n,): given if chunk is 0; overwritten */
    size_t n, d;
    double least, most;
    int is_unit;
    size_t chunk, first_fold;
    const double *reference; /* (d,) */
    size_t k;
    double *sums; /* (k, d) */
    double *weight, *weight2, *sq_distance; /* (k,) */
} refsgd_direction_job_f32;
typedef struct {
    const double *rows;       /* (n, d) */
    const double *weights; /* (n,), or NULL: all 1 */
    double *squares;       /* (n,): given if chunk is 0; overwritten */
    size_t n, d;
    double least, most;
    int is_unit;
    size_t chunk, first_fold;
    const double *reference; /* (d,) */
    size_t k;
    double *sums; /* (k, d) */
    double *weight, *weight2, *sq_distance; /* (k,) */
} refsgd_direction_job_f64;
int refsgd_directions_f32(const refsgd_direction_job_f32 *job);
int refsgd_directions_f64(const refsgd_direction_job_f64 *job);
/* CFFI END */

#endif
