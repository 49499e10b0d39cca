"""Pictures as PNG files that gradio can serve.

Encoded here, on the thread that runs a handler: gradio would do it on its event loop, where everybody waits.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gradio.processing_utils import encode_pil_to_bytes
from PIL import Image


class Pictures:
    """A folder of PNG files whose names nobody can guess; the same picture has the same name.

    Args:
        folder: gradio's own for temporary files. It serves them from there, and deletes what is old.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._key = secrets.token_bytes()

    def save(self, image: Image.Image, name: str) -> str:
        """Write a picture, with what its `info` says. Returns the path of the file.

        Args:
            name: what the file's name begins with.

        Raises:
            OSError: it cannot be written; nothing is left of it then.
        """
        data = encode_pil_to_bytes(image, "png")
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{name}-{hashlib.blake2b(data, key=self._key, digest_size=16).hexdigest()}.png"
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
        with suppress(KeyError, FileNotFoundError):
            os.utime(self._files[name])  # as good as new: gradio deletes what is old
            return self._files[name]
        self._files[name] = self.pictures.save(image, name)
        return self._files[name]
