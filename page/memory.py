"""What the browser remembers: the settings, in the address and for the next visit; and which visit this is.

Gradio's `BrowserState` does not do for it: it fails where a browser keeps nothing for a page in a frame of
another site, and keeps what is meant for one window for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from page.api import SETTINGS
from page.html import render
from page.visit import Session

SCRIPT = Path(__file__).parent / "templates" / "memory.js"
REMEMBER = """(...values) => {
  document.dispatchEvent(new CustomEvent("settings", { detail: values }));
}"""
"""A handler in the browser, from the values of `SETTINGS`: remember them."""


def add_memory(first: Sequence[Any]) -> gr.HTML:
    """The component. Its event `restore` comes when the page is there. It brings what the browser has kept,
    `link`, `kept` and `visit`, and `how` the page came to be there. Its event `picture` brings the `settings`
    of a picture that was dropped on the page. All are text that anybody may have written. Its event `follow`
    comes when it was told to follow a run.

    Args:
        first: the values of `SETTINGS` in a form that nobody has touched; they need not be remembered.
    """
    return gr.HTML(
        None,  # not as a handler would yield it, so that the first one is noticed
        html_template=render("memory"),
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        elem_id="memory",
        elem_classes="foot",
        names=SETTINGS,
        first=list(first),
    )


def remembered(session: Session, is_on: bool, follow: bool = False) -> dict[str, Any]:
    """What a handler yields for the component: what this window has to say when it is loaded again.

    Args:
        is_on: whether it has a run.
        follow: whether to ask for it, after the page was loaded again.
    """
    return {"token": session.token, "running": is_on, "follow": follow}
