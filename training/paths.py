"""Where training keeps what it makes. ``work/`` is not tracked; only the bundled model is."""

from pathlib import Path

WORK = Path(__file__).parent / "work"
SHIPPED = Path(__file__).parent.parent / "assets" / "mini-sdxl"
