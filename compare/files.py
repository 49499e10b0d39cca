"""A comparison as files: one PNG for each method, one of its tokens, a contact sheet and `report.json`."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from compare.methods import method_of
from compare.report import Comparison, Result
from compare.sheet import contact_sheet


def save_comparison(comparison: Comparison, folder: str | Path) -> Path:
    """Write `report.json`, one `<method>.png` each and the side-by-side `comparison.png`. A method that did
    not keep every token also has `<method>-tokens.png`.

    Files of those names are replaced. Returns the folder, which is made if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for result in comparison.results:
        _write_png(result.image, folder / f"{result.method}.png")
        if result.token_record is not None:
            _write_png(result.token_record, folder / f"{result.method}-tokens.png")
    _write_png(contact_sheet(comparison), folder / "comparison.png")
    (folder / "report.json").write_text(comparison.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return folder


def load_comparison(folder: str | Path) -> Comparison:
    """Read back what `save_comparison` wrote.

    Raises:
        FileNotFoundError: `report.json` or a picture is missing.
        ValueError: `report.json` is not such a report; the sentence says what is wrong with it.
    """
    return Comparison.model_validate(_report(Path(folder)))


def load_results(folder: str | Path) -> tuple[Result, ...]:
    """The results alone. Unlike the request, which is checked by the library, they need no torch.

    Raises:
        FileNotFoundError, ValueError: as `load_comparison`.
    """
    return tuple(map(Result.model_validate, _report(Path(folder))["results"]))


def _report(folder: Path) -> dict[str, Any]:
    """`report.json`, with the pictures of its results."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if not isinstance(report, dict) or not isinstance(report.get("results"), list):
        raise ValueError(f"{folder / 'report.json'} is not a report of a comparison.")
    for result in report["results"]:
        method = method_of(result["method"]).id
        with Image.open(folder / f"{method}.png") as picture:
            result["image"] = picture.copy()
        with suppress(FileNotFoundError), Image.open(folder / f"{method}-tokens.png") as picture:
            result["token_record"] = picture.copy()
    return report


def _write_png(image: Image.Image, file: Path) -> None:
    """With what the picture's `info` says about it, which Pillow leaves out unless asked."""
    text = PngInfo()
    for key, value in image.info.items():
        if isinstance(value, str):
            text.add_itxt(key, value)
    image.save(file, pnginfo=text)
