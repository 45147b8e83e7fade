/* The flaws of CSR samples, found in one pass: entries out of range, columns that do not exist, columns that do
 * not rise. Most samples are sound, so a flag for each kind is enough; the caller then looks for the place.
 */
#include <math.h>

#include "internal.h"

#define TEMPLATE "csr_checks.inc"
#include "real.h"
