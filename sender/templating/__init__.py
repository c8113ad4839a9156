"""Texts from Jinja templates: a column of them, each what plain jinja2 makes of its row, or a reason.

`compile_template` reads a template and says what is wrong with it; `render` makes a column of texts with it;
`verbatim` takes texts as they stand. Nothing here reads files, knows providers, or lets a template do so.
"""

from __future__ import annotations

from sender.templating.budget import MAX_CHARS
from sender.templating.filters import FILTERS
from sender.templating.render_columns import render, verbatim
from sender.templating.template import Template, compile_template

__all__ = ["FILTERS", "MAX_CHARS", "Template", "compile_template", "render", "verbatim"]
