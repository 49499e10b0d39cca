"""The form: every field of a `Request`, most of them in "More settings", and the two buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.events import Dependency

from compare.methods import known_methods
from compare.models.load import LoadedPipeline
from compare.report import Comparison
from compare.request import OPTIONAL_NUMBERS, POOLINGS, SIZE_MULTIPLE, SIZES
from compare.words import in_words
from page.api import SETTINGS, UNLISTED
from page.html import render
from page.memory import REMEMBER
from page.presets import (
    FACTOR_OF,
    FACTORS,
    NEW_SEED,
    TYPED,
    Preset,
    constant,
    presets_of,
    set_size,
    size_of,
)
from server.limits import Limits

EXAMPLES = 6  # prompts that are a click away
CHIPS = 5  # methods that are shown at once; the style sheet hides the others
IN_BROWSER = {"queue": False, **UNLISTED}


@dataclass(frozen=True)
class Form:
    """The components."""

    settings: dict[str, gr.components.Component]
    """By the field of a `Request`."""
    compare: gr.Button
    stop: gr.Button
    examples: tuple[gr.Button, ...]
    new_seed: gr.Button
    presets: tuple[Preset, ...]
    size: gr.Radio
    factor: gr.Radio

    @property
    def ordered(self) -> list[gr.components.Component]:
        """The settings in the order of `SETTINGS`."""
        return [self.settings[name] for name in SETTINGS]

    @property
    def first(self) -> dict[str, Any]:
        """What the settings are before anybody touches them."""
        return {name: self.settings[name].value for name in SETTINGS}

    def id_of(self, setting: str | None) -> str | None:
        """The `elem_id` of the field of a setting; None if it is none."""
        return self.settings[setting].elem_id if setting in self.settings else None

    @property
    def changed(self) -> list[Callable[..., Any]]:
        """The triggers by which a visitor changes what is to be expected, beside the shortcuts."""
        chosen = [self.settings[name].input for name in ("methods", "pooling")]
        texts = ("prompt", "factor", *OPTIONAL_NUMBERS)
        typed = [c.blur for name, c in self.settings.items() if isinstance(c, gr.Number) or name in texts]
        return [*chosen, *typed]

    def connect(self) -> list[Dependency]:
        """Make the shortcuts set their fields, which is returned, and the fields their shortcuts."""
        settings, factor = self.settings, self.settings["factor"]
        side = [settings["width"], settings["height"]]
        for button in self.examples:
            button.click(None, None, settings["prompt"], js=constant(button.value), **IN_BROWSER)
        self.new_seed.click(None, None, settings["seed"], js=NEW_SEED, **IN_BROWSER)
        preset = self.size.input(
            None, [self.size, factor], [*side, factor, self.factor], js=set_size(self.presets), **IN_BROWSER
        )
        chosen = self.factor.input(None, self.factor, factor, js=TYPED, **IN_BROWSER)
        gr.on([each.change for each in side], None, side, self.size, js=size_of(self.presets), **IN_BROWSER)
        factor.change(None, factor, self.factor, js=FACTOR_OF, **IN_BROWSER)
        changes = [component.change for component in self.ordered]
        gr.on(changes, None, self.ordered, None, js=REMEMBER, trigger_mode="multiple", **IN_BROWSER)
        return [preset, chosen]


def add_form(loaded: LoadedPipeline, first: dict[str, Any], limits: Limits) -> Form:
    """Lay the form out.

    Args:
        first: what it says at first.
        limits: which the help names.
    """
    with gr.Column(elem_classes="controls"):
        with gr.Row(elem_classes="go"):
            prompt = gr.Textbox(
                first["prompt"], label="Prompt", placeholder="What to draw", max_lines=4, scale=6,
                show_label=False, container=False, elem_id="prompt", min_width=280,
            )  # fmt: skip
            compare = gr.Button("Compare", variant="primary", elem_id="compare", scale=0, min_width=140)
            stop = gr.Button("Stop", interactive=False, elem_id="stop", scale=0, min_width=110)
        with gr.Row(elem_classes="examples"):
            examples = tuple(
                gr.Button(example, size="sm", min_width=0, elem_classes="example")
                for example in loaded.examples[:EXAMPLES]
            )
        presets = presets_of(loaded.defaults)
        with gr.Row(elem_classes="choices"):
            size = _size(presets, first)
            factor = gr.Radio(
                FACTORS, value=next((f for f in FACTORS if str(f) == first["factor"]), None), label="Factor",
                elem_id="factors", min_width=0,
            )  # fmt: skip
            methods = methods_group(first["methods"], elem_id="methods")
            if (others := len(known_methods()) - CHIPS) > 0:
                gr.HTML(render("more_methods", count=others), elem_classes="others")
        # Open, and closed in the browser (fields.js): gradio makes fields when they are first to be seen, and
        # would overwrite what somebody types into them in that moment.
        with gr.Accordion("More settings", open=True, elem_id="more-settings"):
            negative_prompt = gr.Textbox(
                first["negative_prompt"], label="Negative prompt", max_lines=4, elem_id="negative-prompt"
            )
            with gr.Row(elem_classes="numbers"):
                numbers = _numbers(first)
                new_seed = gr.Button("New seed", elem_id="new-seed", min_width=100)
            if loaded.vocabulary:
                gr.HTML(render("vocabulary", seen=loaded.vocabulary))
            with gr.Accordion("Settings of the methods", open=True, elem_id="method-settings"):
                of_methods = _method_settings(first)
            gr.HTML(render("settings_help", sizes=SIZES, multiple=SIZE_MULTIPLE, limits=limits))
    texts = {"prompt": prompt, "negative_prompt": negative_prompt, "methods": methods}
    settings = {**texts, **numbers, **of_methods}
    return Form(settings, compare, stop, examples, new_seed, presets, size, factor)


def first_settings(loaded: LoadedPipeline, example: Comparison | None) -> dict[str, Any]:
    """What the form says at first, in the order of `SETTINGS`: the example's, timed once, if this model made
    it, or else those that suit the model."""
    first = loaded.request(loaded.examples[0])
    if example is not None:
        first = replace(first, methods=example.request.methods)
        if example.model.source == loaded.info.source:
            first = replace(example.request, repeats=1)  # three times would be three times the wait
    known = [method.id for method in known_methods()]
    settings = {name: as_typed(name, getattr(first, name)) for name in SETTINGS}
    return {**settings, "methods": [id for id in first.methods if id in known]}


def as_typed(name: str, value: Any) -> Any:
    """A setting of a `Request` as its field on the page has it."""
    if name == "factor":
        return in_words(value)
    if name in OPTIONAL_NUMBERS:
        return "" if value is None else str(value)  # with all digits
    return list(value) if name == "methods" else value


def methods_group(chosen: Sequence[str], elem_id: str | None = None) -> gr.CheckboxGroup:
    """All methods that can be chosen."""
    choices = [(method.label, method.id) for method in known_methods()]
    return gr.CheckboxGroup(
        choices, value=list(chosen), label="Methods", elem_id=elem_id, scale=4, min_width=280
    )


def _size(presets: tuple[Preset, ...], first: dict[str, Any]) -> gr.Radio:
    sides = [preset.side for preset in presets]
    is_preset = first["width"] == first["height"] and first["width"] in sides
    value = first["width"] if is_preset else None
    return gr.Radio(sides, value=value, label="Size", elem_id="size", min_width=0)


def _numbers(first: dict[str, Any]) -> dict[str, gr.components.Component]:
    width, height = (_number(first, side, side.title(), step=64) for side in ("width", "height"))
    factor = gr.Textbox(first["factor"], label="Factor", elem_id="factor", max_lines=1, min_width=80)
    others = {
        name: _number(first, name, label, step)
        for name, label, step in (
            ("steps", "Steps", 1),
            ("guidance_scale", "Guidance", 0.5),
            ("repeats", "Repeats", 1),
            ("seed", "Seed", 1),
        )
    }
    return {"width": width, "height": height, "factor": factor, **others}


def _method_settings(first: dict[str, Any]) -> dict[str, gr.components.Component]:
    with gr.Row(elem_classes="numbers"):
        until = _number(first, "until", "On until", step=0.1)
        pooling = gr.Radio(
            list(POOLINGS), value=first["pooling"], label="Pooling of ToDo", elem_id="pooling", min_width=80
        )
        share = _number(first, "forecast_share", "Forecast share", step=0.1)
        # A gr.Number would make a zero of nothing.
        tome = {
            name: gr.Textbox(
                first[name],
                label=label, placeholder="as ToDo", elem_id=name.replace("_", "-"), max_lines=1, min_width=80,
            )
            for name, label in (
                ("tome_ratio", "ToMe ratio"),
                ("tome_stride", "ToMe stride"),
                ("tome_levels", "ToMe levels"),
            )
        }  # fmt: skip
        seed = _number(first, "tome_seed", "ToMe seed", step=1)
    gr.HTML(render("method_settings_help"))
    return {"until": until, "pooling": pooling, "forecast_share": share, **tome, "tome_seed": seed}


def _number(first: dict[str, Any], name: str, label: str, step: float) -> gr.Number:
    # No minimum, maximum or precision: they clamp and round what was typed before it is checked.
    id = name.removesuffix("_scale").replace("_", "-")
    return gr.Number(first[name], label=label, step=step, elem_id=id, min_width=80)
