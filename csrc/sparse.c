/* Sums of sparse rows by column, in order of appearance: the moments of sparse gradients.
 *
 * slots[c] is 0 for a column not seen yet, else 1 + its place in the outputs.
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "sparse.inc"
#include "real.h"
