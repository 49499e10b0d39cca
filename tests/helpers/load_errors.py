"""What is said of a model that cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from compare.errors import ModelNotLoaded
from compare.models.load import load_pipeline


def load_error(model: str | Path | None, device: str = "cpu", **options: str) -> str:
    """The one sentence."""
    with pytest.raises(ModelNotLoaded) as refused:
        load_pipeline(model, device, **options)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", ")"))
    return sentence
