"""The same picture from the user's own script."""

from __future__ import annotations

from compare.report import ModelInfo
from compare.request import Request


def script_for(request: Request, method: str, model: ModelInfo, steps: int | None = None) -> str:
    """Lines of Python that make the picture of one method; of this project they need only `todo_patch`.

    Args:
        request: the settings.
        method: an id from `METHODS`.
        model: `LoadedPipeline.info`.
        steps: instead of the request's; `Result.steps` for "fewer-steps".
    """
    raise NotImplementedError
