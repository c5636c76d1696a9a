"""How Sphinx builds these pages; a warning is an error."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "galenic"
author = "the galenic authors"
copyright = "the galenic authors; Apache-2.0"
release = version = installed("galenic")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/measured"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"galenic {release}"
html_show_sphinx = False
html_copy_source = False
