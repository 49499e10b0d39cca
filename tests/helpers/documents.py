"""Tables in docs/ that a command writes: what stands between two comments with the command's name."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def written_by(command: str, document: str) -> str:
    """What the command has written into the document.

    Raises:
        ValueError: the document has no place for it.
    """
    found = _place(command).search((DOCS / document).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"docs/{document} has no place that `{command}` writes.")
    return found.group(2)


def write(command: str, document: str, text: str) -> None:
    """Replace it."""
    whole = (DOCS / document).read_text(encoding="utf-8")
    replaced, count = _place(command).subn(lambda found: f"{found.group(1)}{text}{found.group(3)}", whole)
    if count != 1:
        raise ValueError(f"docs/{document} has no place that `{command}` writes.")
    (DOCS / document).write_text(replaced, encoding="utf-8")


def _place(command: str) -> re.Pattern[str]:
    name = re.escape(command)
    return re.compile(rf"(<!-- written by {name} -->\n)(.*?)(<!-- end of what {name} writes -->\n)", re.S)
