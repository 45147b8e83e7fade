"""Applications: they may import everything, and nothing below imports them."""
