"""How the bundled model is made. Nothing imports this folder but its tests; README.md has the commands."""

from pathlib import Path

WORK = Path(__file__).parent / "work"  # everything before the export; not tracked
