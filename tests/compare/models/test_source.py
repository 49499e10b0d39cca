from __future__ import annotations

import pytest

from compare.errors import ModelNotLoaded
from compare.models import source
from compare.models.load import load_pipeline


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("no/such/folder", "neither a folder"),
        ("no.safetensors", "There is no file"),
        ("old.ckpt", r"only \.safetensors"),
    ],
)
def test_a_model_that_does_not_exist_gets_a_sentence(model, says) -> None:
    with pytest.raises(ModelNotLoaded, match=says):
        load_pipeline(model, device="cpu")


def test_a_missing_bundled_model_says_where_it_was_looked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(source, "BUNDLED", tmp_path / "assets" / "mini-sdxl")
    with pytest.raises(ModelNotLoaded, match=r"looked in .*mini-sdxl"):
        load_pipeline(device="cpu")
