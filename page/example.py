"""The comparison that is shown before a visitor has made one."""

from __future__ import annotations

import logging
from pathlib import Path

from compare.files import load_comparison
from compare.report import Comparison

EXAMPLE = Path(__file__).resolve().parents[1] / "assets" / "example"
UNREADABLE = (OSError, ValueError, KeyError, TypeError)
"""What reading it can raise."""
LOG = logging.getLogger("page.example")


def example_comparison() -> Comparison | None:
    """None if it is missing or cannot be read, which is logged."""
    try:
        return load_comparison(EXAMPLE)
    except UNREADABLE as error:
        LOG.warning("The example in %s is not shown: %s", EXAMPLE, error)
        return None
