"""Texts from Jinja templates: a column of them, each what plain jinja2 renders for its row, or a reason.

`compile_template` compiles a template and says what is wrong with it; `render` renders a column of texts with it;
`verbatim` takes texts as they are. Nothing here reads files, knows providers, or lets a template do so.
"""

from __future__ import annotations

from sender.templating.budget import MAX_CHARS
from sender.templating.condition import RowCondition, compile_condition, evaluate
from sender.templating.filters import FILTERS
from sender.templating.missing_values import count_placeholders
from sender.templating.render_columns import render
from sender.templating.template import Template, compile_template
from sender.templating.text_column import verbatim

__all__ = [
    "FILTERS",
    "MAX_CHARS",
    "RowCondition",
    "Template",
    "compile_condition",
    "compile_template",
    "count_placeholders",
    "evaluate",
    "render",
    "verbatim",
]
