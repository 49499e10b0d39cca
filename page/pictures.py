"""Pictures as PNG files, and archives of them, that gradio can serve.

Encoded here, on the thread that runs a handler: gradio would do it on its event loop, where everybody waits.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gradio.processing_utils import encode_pil_to_bytes
from PIL import Image

from compare.experiment.flip import NoFlip, flip_map
from compare.report import Comparison, Result

SWEEP_EVERY = 600.0  # seconds between two looks for old files, as long as new ones come
SUFFIXES = (".png", ".zip")
KEPT = 3600.0  # seconds for which a file is kept after its last use


class Pictures:
    """A folder of files whose names nobody can guess; the same picture has the same name.

    Args:
        folder: gradio's own for temporary files. It serves them from there. What is old is deleted here,
            because gradio would leave what the API was answered.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._key = secrets.token_bytes()
        self._swept = time.time()

    def save(self, image: Image.Image, name: str) -> str:
        """Write a picture, with what its `info` says. Returns the path of the file.

        Args:
            name: what the file's name begins with.

        Raises:
            OSError: it cannot be written; nothing is left of it then.
        """
        return self.save_bytes(encode_pil_to_bytes(image, "png"), name, ".png")

    def save_bytes(self, data: bytes, name: str, suffix: str) -> str:
        """Write a file of one of the `SUFFIXES`. Returns and raises what `save` does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._delete_old()
        digest = hashlib.blake2b(data, key=self._key, digest_size=16).hexdigest()
        file = self.folder / f"{name}-{digest}{suffix}"
        # Never half a file, and never one that is old enough to be deleted in a moment.
        handle, unfinished = tempfile.mkstemp(dir=self.folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as output:
                output.write(data)
            os.replace(unfinished, file)
        except BaseException:
            os.unlink(unfinished)
            raise
        return str(file)

    def _delete_old(self) -> None:
        now = time.time()
        if now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        for file in self.folder.iterdir():
            with suppress(OSError):  # a folder, or another thread was faster
                if file.suffix in SUFFIXES and now - file.stat().st_mtime > KEPT:
                    file.unlink()


@dataclass(frozen=True)
class Album:
    """The files of one comparison's pictures, by name. Each picture is encoded once."""

    pictures: Pictures
    _files: dict[str, str] = field(default_factory=dict, init=False)

    def file(self, name: str, image: Image.Image) -> str:
        """The path of a picture's file.

        Args:
            name: of the picture in this comparison; the same name is the same picture.

        Raises:
            OSError: it cannot be written.
        """
        if (known := self._known(name)) is not None:
            return known
        self._files[name] = self.pictures.save(image, name)
        return self._files[name]

    def flip_file(self, result: Result, baseline: Result | None) -> str | None:
        """The path of the map of what the eye sees of a picture's difference to Baseline's (FLIP); None for
        Baseline itself, without Baseline, and without the optional package.

        The first time it takes a third of a second for 512×512 pixels: ask when no clock runs, which is while
        `MethodDone` is handled.

        Raises:
            OSError: it cannot be written.
        """
        if baseline is None or result.is_baseline:
            return None
        name = f"{result.method}-flip"
        if (known := self._known(name)) is not None:
            return known
        try:
            difference = flip_map(result.image, baseline.image)
        except NoFlip:
            return None
        return self.file(name, difference.picture)

    def _known(self, name: str) -> str | None:
        with suppress(KeyError, FileNotFoundError):
            os.utime(self._files[name])  # as good as new: what is old is deleted
            return self._files[name]
        return None

    def encoded(self, comparison: Comparison) -> Comparison:
        """The comparison with its pictures as their files have them: a fraction of the memory, until somebody
        looks at their pixels."""
        results = (
            result.model_copy(update={"image": self._reopened(result.method, result.image)})
            for result in comparison.results
        )
        return comparison.model_copy(update={"results": tuple(results)})

    def _reopened(self, name: str, image: Image.Image) -> Image.Image:
        return Image.open(io.BytesIO(Path(self.file(name, image)).read_bytes()))
