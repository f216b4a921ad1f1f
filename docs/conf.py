"""How Sphinx makes the documentation site of docs/ and the docstrings.

    sphinx-build -W --keep-going docs build/docs

A warning is an error: a link that leads nowhere, a page that no navigation has, a docstring that
does not parse.
"""

from __future__ import annotations

import sys
from pathlib import Path

import hgobench

sys.path.insert(0, str(Path(__file__).parent))  # registered.py: directives of this site

project = "hgobench"
author = copyright = "the hgobench authors"
version = release = hgobench.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "registered",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["data"]
myst_heading_anchors = 4  # as GitHub has them

default_role = "py:obj"  # `Page` in a docstring
autodoc_mock_imports = ["flwr", "httpx"]  # the site is built without the extra flower
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"hgobench {version}"
html_copy_source = False
