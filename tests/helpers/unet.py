"""Looking into a run from its UNet's calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from compare.models.load import LoadedPipeline


@contextmanager
def watched_unet(loaded: LoadedPipeline, look: Callable[..., None]) -> Iterator[None]:
    """Call `look(module, args, kwargs)` before every call of the UNet."""
    handle = loaded.pipe.unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
