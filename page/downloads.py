"""What a visitor can take home of a comparison beside pictures: the sheet, and everything as an archive."""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import gradio as gr

from compare.methods import TODO
from compare.models.load import LoadedPipeline
from compare.report import Comparison
from compare.sheet import contact_sheet
from page.shown import Shown, file_name

SCRIPT = Path(__file__).parent / "templates" / "downloads.js"


def add_downloads() -> gr.HTML:
    """The component, of which nothing is seen: it saves what it is given under a name. Its event `pack`
    brings `what` was asked for by a button with `data-pack`, "sheet" or "archive", and a number, `asked`."""
    script = SCRIPT.read_text(encoding="utf-8")
    return gr.HTML(None, html_template="", js_on_load=script, elem_id="downloads", elem_classes="unseen")


def packed(shown: Shown, what: str, asked: str) -> dict[str, object]:
    """What a handler yields for the component.

    Raises:
        OSError: the file cannot be written.
    """
    path = archive(shown) if what == "archive" else sheet(shown)
    return saved(path, f"{name_of(shown)}{Path(path).suffix}", asked)


def saved(path: str, name: str, asked: str = "") -> dict[str, object]:
    """A file to be saved in the browser.

    Args:
        asked: whatever tells two downloads of the same file apart; "" for a random one.
    """
    return {"file": gr.FileData(path=path).model_dump(), "name": name, "asked": asked or secrets.token_hex(4)}


def name_of(shown: Shown) -> str:
    """Of a file with all pictures, without its ending: `comparison-factor2-a-fox-on-navy-seed101`."""
    return f"comparison{Path(file_name(TODO.id, shown.request)).stem.removeprefix(TODO.id)}"


def sheet(shown: Shown) -> str:
    """The path of one picture with all results side by side."""
    # Of pictures that are read anew: those of a session stay encoded.
    return shown.album.file("comparison", contact_sheet(shown.album.encoded(shown.comparison)))


def archive(shown: Shown) -> str:
    """The path of a ZIP archive with what `compare.save_comparison` writes into a folder."""
    album, comparison = shown.album, shown.comparison
    folder = name_of(shown)
    data = io.BytesIO()
    with ZipFile(data, "w", ZIP_STORED) as files:  # pictures are compressed already
        for result in comparison.results:
            files.write(album.file(result.method, result.image), f"{folder}/{result.method}.png")
            if (tokens := result.token_record) is not None:
                name = f"{result.method}-tokens"
                files.write(album.file(name, tokens), f"{folder}/{name}.png")
        files.write(sheet(shown), f"{folder}/comparison.png")
        files.writestr(f"{folder}/report.json", comparison.model_dump_json(indent=2) + "\n")
    return album.pictures.save_bytes(data.getvalue(), "comparison", ".zip")


def archive_of_rows(loaded: LoadedPipeline, comparisons: Sequence[Comparison]) -> bytes:
    """A ZIP archive with the folder that `python -m compare sweep` writes. Scoring the pictures takes about a
    second a picture of 512×512 pixels."""
    # Only here: they take long to import.
    from compare.study.row_folder import RowFolder
    from compare.study.rows import Row, Setup, rows_of
    from compare.study.scorers import Scorers

    scorers = Scorers.of(loaded)
    setup, data = Setup.of(loaded, scorers), io.BytesIO()
    with TemporaryDirectory() as folder, RowFolder(Path(folder), setup, Row) as rows:
        for comparison in comparisons:
            if comparison.baseline is not None:
                rows.append(rows_of(comparison, scorers, setup.weights, timed=True))
        with ZipFile(data, "w", ZIP_DEFLATED) as files:
            for name in ("setup.json", "rows.jsonl"):
                files.write(Path(folder) / name, f"rows/{name}")
    return data.getvalue()
