"""Sphinx settings."""

import refsgd

project = "refsgd"
author = "the refsgd developers"
copyright = "2026, the refsgd developers"
release = version = refsgd.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_mock_imports = ["torch"]  # some gigabytes that only signatures would need
autodoc_typehints = "none"
default_role = "code"
nitpicky = False
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"refsgd {release}"
