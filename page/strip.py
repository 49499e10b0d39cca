"""The strip: this visit's comparisons, to return to, to pin and to take settings from."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from page.html import render
from page.visit import KEPT, Session

SCRIPT = Path(__file__).parent / "templates" / "strip.js"


def add_strip() -> gr.HTML:
    """The component, empty. Its event `act` brings the `id` of a comparison and what to do with it: "show",
    "pin" or "take"."""
    return gr.HTML(strip_html(Session()), elem_id="strip", js_on_load=SCRIPT.read_text(encoding="utf-8"))


def strip_html(session: Session) -> str:
    """Its contents."""
    return render("strip", session=session, most=KEPT) if session.strip or session.gone else ""
