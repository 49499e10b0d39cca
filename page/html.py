"""Renders the templates beside this file: they hold the words and the markup of the page.

Jinja2 escapes all that is put into them.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compare.words import counted, duration, in_words

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals |= {"in_words": in_words, "counted": counted, "duration": duration}
TEMPLATES.filters["base64"] = lambda text: b64encode(text.encode()).decode()


def render(template: str, **values: object) -> str:
    """The HTML of `templates/<template>.html` with these values."""
    return TEMPLATES.get_template(f"{template}.html").render(values)


def message(kind: str, sentence: str, at: str | None = None) -> str:
    """A sentence, as HTML.

    Args:
        kind: for the style sheet: "error", "stopped", "note", or "progress", which only screen readers need,
            as the bars say it too.
        at: the `elem_id` of the field that it speaks of, beside which the page shows it.
    """
    return render("message", kind=kind, sentence=sentence, at=at)
