"""The files of pictures."""

from __future__ import annotations

import os
import time
from pathlib import Path

from PIL import Image

from page import pictures
from page.pictures import KEPT, Pictures


def test_old_files_are_deleted_whoever_made_them_and_others_stay(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "SWEEP_EVERY", 0)
    folder = Pictures(tmp_path)
    old, used = (Path(folder.save(Image.new("RGB", (8, 8), colour), "todo")) for colour in ("red", "blue"))
    lock = tmp_path / ".lock"
    lock.touch()
    for file in (old, used, lock):
        os.utime(file, (time.time() - KEPT - 60,) * 2)
    folder.save(Image.new("RGB", (8, 8), "blue"), "todo")
    assert set(tmp_path.iterdir()) == {used, lock}
