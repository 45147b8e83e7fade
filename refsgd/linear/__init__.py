"""Linear models, which know their curvature in closed form and therefore need no probe."""
