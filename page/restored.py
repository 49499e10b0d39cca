"""Settings that come from outside of the form: from a link, from what the browser has kept, from a picture.

Anybody can have written them. What does not fit into its field is left out and named; what fits is checked
like anything that is typed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import parse_qs

import gradio as gr
from gradio.components import Component

from compare.errors import quoted
from compare.request import Request

OF_OTHERS = re.compile(r"__.*|view|deep_link|utm_.*|\w*clid")
"""Names in an address that are gradio's own, as `__theme`, or of sites that count whom they send."""
OF_A_PICTURE = ("method",)
"""Names in the settings of a picture that are no settings of the form."""
NUMBERS = 2**53  # beyond, browsers and JSON write other numbers than were meant
NAMED = 5  # of those that are left out


@dataclass(frozen=True)
class Restored:
    """What came, by the field of a `Request`."""

    settings: dict[str, object] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """What was not understood, each in a few words."""

    @property
    def complaint(self) -> str:
        """A sentence on what was left out; "" if nothing was."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - NAMED
        named = ", ".join(self.left_out[:NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"Not understood, and left out: {named}."


def from_link(query: str, fields: Mapping[str, Component]) -> Restored:
    """What the query of an address says.

    Args:
        fields: the form's, by the field of a `Request`.
    """
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return Restored(left_out=("a link with hundreds of settings",))
    values = {
        name: _read(fields.get(name), texts) for name, texts in given.items() if not OF_OTHERS.fullmatch(name)
    }
    return _sorted(values, fields)


def from_request(request: Request, fields: Mapping[str, Component]) -> Restored:
    """What the form says for a request."""
    return from_json(json.dumps(asdict(request)), fields)


def from_json(text: str, fields: Mapping[str, Component]) -> Restored:
    """What a JSON object says, as the browser keeps it and a picture carries it."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return Restored(left_out=(f"{quoted(text)}, which is no JSON object",))
    values = {
        name: _in_text(value) if isinstance(fields.get(name), gr.Textbox) else value
        for name, value in given.items()
        if name not in OF_A_PICTURE
    }
    return _sorted(values, fields)


def _read(component: Component | None, texts: Sequence[str]) -> object:
    """The value that texts of an address mean in a field."""
    match component:
        case gr.Number() | gr.Slider():
            return _number(texts[-1])
        case gr.Checkbox():
            return {"true": True, "false": False}.get(texts[-1].lower(), texts[-1])
        case gr.CheckboxGroup() | gr.Dropdown(multiselect=True):
            return [text for text in texts if text]
        case gr.Radio() | gr.Dropdown():
            values = (value for _, value in component.choices if str(value) == texts[-1])
            return next(values, texts[-1])
    return texts[-1]


def _in_text(value: object) -> object:
    """Numbers as somebody types them, "4, 2", and nothing as an empty field."""
    if value is None:
        return ""
    numbers = value if isinstance(value, list) else [value]
    if numbers and all(type(number) in (int, float) for number in numbers):
        return ", ".join(f"{number:g}" for number in numbers)
    return value


def _number(text: str) -> object:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(text) if text.strip("-").isdecimal() and number.is_integer() else number


def _sorted(given: Mapping[str, object], fields: Mapping[str, Component]) -> Restored:
    fitting = {name: value for name, value in given.items() if _fits(fields.get(name), value)}
    left_out = (f"{_short(name)} = {quoted(value)}" for name, value in given.items() if name not in fitting)
    return Restored(fitting, tuple(left_out))


def _fits(component: Component | None, value: object) -> bool:
    """Whether a field can show a value, be it allowed or not."""
    match component:
        case gr.Number() | gr.Slider() if value is None:
            return component.value is None  # it can be left empty
        case gr.Number() | gr.Slider():
            is_number = type(value) in (int, float)
            return is_number and math.isfinite(value) and abs(value) <= NUMBERS
        case gr.Checkbox():
            return isinstance(value, bool)
        case gr.CheckboxGroup() | gr.Dropdown(multiselect=True):
            known = [each for _, each in component.choices]
            return isinstance(value, list) and all(each in known for each in value)
        case gr.Radio() | gr.Dropdown():
            return value in [each for _, each in component.choices]
        case gr.Textbox():
            return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)
    return False


def _short(name: str) -> str:
    return quoted(name).strip("'\"")
