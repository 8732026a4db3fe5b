"""Settings of Sphinx; ``experiments/build_docs.py`` builds with them."""

from __future__ import annotations

import pydoc
import re
from typing import Any

import aspgap_jax

project = "aspgap-jax"
author = "The aspgap-jax developers"
release = aspgap_jax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"aspgap-jax {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

# Notebooks come with their outputs.
nb_execution_mode = "off"
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource", "no-value": True}
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_use_ivar = True
# Of what is ours, every reference is to something that exists.
nitpicky = True
# Several classes have an attribute of one name; none is meant.
suppress_warnings = ["ref.python"]
nitpick_ignore_regex = [("py:.*", r"(?!aspgap_jax).*")]


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Fields of a NamedTuple are explained by its docstring, not by ``Alias for field number``."""
    text = getattr(obj, "__doc__", None) or ""
    return True if text.startswith("Alias for field number") else None


def plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """|x| is a modulus, and a star in front of an axis belongs to its name."""
    for number, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [re.sub(r"\||(?<=[\"'/])\*", r"\\\g<0>", part) for part in parts[::2]]
        lines[number] = "``".join(parts)


def elsewhere(app: Any, env: Any, node: Any, shown: Any) -> Any:
    """A name that a package hands on is explained where it is defined."""
    target = node.get("reftarget", "")
    found = pydoc.locate(target) if target.startswith("aspgap_jax") else None
    if found is None:
        return None
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    python, kind = env.get_domain("py"), node["reftype"]
    link = python.resolve_xref(env, node["refdoc"], app.builder, kind, home, node, shown)
    # What has no entry of its own, a constant for one, stands there as it is.
    return shown if link is None else link


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("missing-reference", elsewhere)
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-skip-member", skip)
