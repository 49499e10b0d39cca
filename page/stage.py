"""The stage: the pictures of a comparison in one viewer.

The browser gets `templates/stage.html`, `stage.css` and `stage.js` once. The value of the component is only
data, which the script draws. So zoom, mode and choice stay when a preview becomes a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from compare.methods import BASELINE, METHODS
from compare.report import Result
from page.html import render
from page.pictures import Album

PINNED = "pinned-"
"""Before the id of a picture of another comparison, which is set beside the method's own."""

STYLE, SCRIPT = (Path(__file__).parent / "templates" / f"stage.{kind}" for kind in ("css", "js"))


@dataclass(frozen=True)
class Tokens:
    """Which tokens a method kept, for the mode that lays them over its picture.

    Args:
        path: the file of `Result.token_record`.
        blocks, steps: how many are in it.
        rows, columns: of tokens.
    """

    path: str
    blocks: int
    steps: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Picture:
    """A picture on the stage.

    Args:
        id: of the method. The stage remembers by it what was chosen. Differences are those to `BASELINE.id`;
            of pictures whose id begins with `PINNED`, to a pinned Baseline, if there is one.
        label: the name of the method.
        path: a file in gradio's upload folder (`page.pictures`); "" holds the place of a picture to come.
        caption: what stands below beside the label, in a few words; may be "".
        alt: what the picture shows, for those who cannot see it.
        name: of the file that a download gets, with its ending.
        width, height: pixels. They reserve the picture's place.
        flip: the file of the perceptual difference to Baseline (`Album.flip_file`), if there is one.
        preview: of a run that is still on.
        best: what the verdict speaks of first. It is seen first where only one picture is.
        tokens: which tokens the method kept (`tokens_of`), if it did not keep all.
    """

    id: str
    label: str
    path: str
    caption: str
    alt: str
    name: str
    width: int
    height: int
    flip: str | None = None
    preview: bool = False
    best: bool = False
    tokens: Tokens | None = None


def stage(pictures: Sequence[Picture], introduce: bool = False) -> gr.HTML:
    """The component. Its element has the id "stage" and names its mode in `data-mode`: "side-by-side",
    "wipe", "difference", "blink" or "tokens".

    Args:
        pictures: in the order in which they are shown.
        introduce: show the difference for two seconds first, to visitors who do not want reduced motion.
    """
    return gr.HTML(
        stage_value(pictures),
        html_template=render("stage"),
        css_template=STYLE.read_text(encoding="utf-8"),
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="stage",
        introduce=introduce,
        baseline=BASELINE.id,
        pinned=PINNED,
    )


def tokens_of(result: Result, album: Album) -> Tokens | None:
    """Which tokens the method of a result kept; None if all, or if nobody has noted which.

    Raises:
        OSError: their file cannot be written.
    """
    if (tokens := result.token_record) is None:
        return None
    blocks, steps = int(tokens.info["blocks"]), int(tokens.info["steps"])
    path = album.file(f"{result.method}-tokens", tokens)
    return Tokens(path, blocks, steps, tokens.height // (blocks * steps), tokens.width)


def stage_value(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """What a handler yields for the component."""
    return [_described(picture) for picture in pictures]


def _described(picture: Picture) -> dict[str, Any]:
    """A picture as the type `Picture` in `stage.js`."""
    colours = {method.id: method.colour for method in METHODS}
    described = {**vars(picture), "colour": colours.get(picture.id.removeprefix(PINNED))}
    files = {"file": _file(described.pop("path")), "flip": _file(picture.flip)}
    if picture.tokens is not None:
        described["tokens"] = dict(vars(picture.tokens))
        described["tokens"]["file"] = _file(described["tokens"].pop("path"))
    return {**described, **files}


def _file(path: str | None) -> dict[str, Any] | None:
    """Gradio adds the address from which it serves the file."""
    return gr.FileData(path=path).model_dump() if path else None
