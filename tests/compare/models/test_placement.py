from __future__ import annotations

import pytest

from compare.errors import ModelNotLoaded
from compare.models.load import load_pipeline
from compare.models.placement import attention_backends


def test_an_unknown_device_gets_a_sentence(tiny_folder) -> None:
    with pytest.raises(ModelNotLoaded, match="not a device"):
        load_pipeline(tiny_folder, device="abacus")


def test_xformers_is_offered_only_if_it_runs(tiny_folder) -> None:
    assert attention_backends("cpu") == ("sdpa",)
    with pytest.raises(ModelNotLoaded, match="'xformers' does not run on cpu; there is sdpa"):
        load_pipeline(tiny_folder, device="cpu", attention="xformers")
