/* What is wrong with rows of a linear model, found in one pass: entries out of range, columns that are not there,
 * columns that do not rise. Of sound rows, which most are, nothing more has to be known.
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "look.inc"
#include "real.h"
