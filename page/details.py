"""Below the stage: the table of numbers, the user's own script, the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from page.api import UNLISTED
from page.shown import Shown

REPEATS = 3
"""How often everything is timed when times cannot be trusted."""
SHOW = '() => ({__type__: "update", visible: true})'
"""In the browser: a component is seen from now on."""


@dataclass(frozen=True)
class Details:
    """The components."""

    column: gr.Column
    numbers: gr.HTML
    repeat: gr.Button
    method: gr.Dropdown
    code: gr.Code
    report: gr.HTML

    def show(self, shown: Shown) -> dict[gr.blocks.Block, Any]:
        """Updates that show a comparison."""
        method = shown.first_choice
        return {
            self.column: gr.update(visible=bool(shown.results)),
            self.numbers: shown.numbers,
            self.repeat: gr.update(visible=shown.is_in_doubt),
            self.method: gr.update(choices=shown.choices, value=method),
            self.code: shown.script(method),
            self.report: shown.report,
        }


def add_details(shown: Shown) -> Details:
    """Lay them out."""
    method = shown.first_choice
    with gr.Column(visible=bool(shown.results), elem_classes="details") as column:
        numbers = gr.HTML(shown.numbers, elem_id="numbers")
        repeat = gr.Button(
            f"Repeat {REPEATS} times", visible=shown.is_in_doubt, size="sm", elem_id="repeat", min_width=0
        )
        with gr.Accordion("The same from your own script", open=False, elem_id="script-column") as script:
            choice = gr.Dropdown(
                shown.choices, value=method, label="Method", elem_id="script-method", min_width=120
            )
            code = gr.Code(
                shown.script(method),
                language="python",
                interactive=False,
                show_label=False,
                show_line_numbers=False,
                wrap_lines=True,
                elem_id="script",
                visible=False,  # or every visitor's browser would fetch an editor
            )
        script.expand(None, None, code, js=SHOW, queue=False, **UNLISTED)
        report = gr.HTML(shown.report, elem_id="report")
    return Details(column, numbers, repeat, choice, code, report)
