"""The documentation site: `sphinx-build -W docs site-docs`."""

import sys
from pathlib import Path

import kbench

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

project = "kbench"
author = "The kbench authors"
copyright = author  # noqa: A001 - Sphinx's name for it
release = kbench.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "commands",
]
exclude_patterns = [
    "workflows", "_ext", "conf.py", "examples/typed_script.py", "examples/hugging_face.py",
    "examples/x_transformer.py", "examples/xlstm_block.py", "pictures/draw.py",
]  # fmt: skip
html_theme = "furo"
html_title = f"kbench {release}"
myst_enable_extensions = ["deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
smartquotes = False
# Cells are highlighted when they are run. A quick build does not: `-D nb_execution_mode=off`.
suppress_warnings = ["myst-nb.lexer"]
