"""Doors to other libraries, each an optional extra: nothing of the package imports them but by name."""
