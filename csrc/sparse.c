/* Sums of sparse rows by column, in order of appearance: the moments of sparse gradients.
 *
 * A sparse set: column c is found at place slots[c] - 1, if that is one of the k so far and columns[] has c there.
 * So whatever slots[] held before does no harm, and nobody has to clear it.
 */
#include <math.h>

#include "internal.h"

/* The place of a column among k, or k where it is not one of them. */
ALWAYS_INLINE size_t place_of(int64_t column, const int32_t *slots, const int64_t *columns, size_t k)
{
    size_t place = (size_t)slots[column] - 1; /* of 0 and negative numbers: large */
    return place < k && columns[place] == column ? place : k;
}

#define TEMPLATE "sparse.inc"
#include "real.h"
