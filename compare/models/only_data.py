"""A model is data: of its files, none is run and none brings code from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import PretrainedConfig

from compare.errors import ModelNotLoaded

WITHOUT_WEIGHTS = ("Tokenizer", "TokenizerFast", "Processor", "Extractor")
BRINGS_CODE = ("auto_map", "custom_pipelines", "quantization_config", "use_kernels", "kernel_config")
ATTENTIONS = (None, "eager", "sdpa")
"""What a configuration may ask for as its attention; anything else is a package or a kernel from the Hub."""


@contextmanager
def only_safetensors(place: str) -> Iterator[None]:
    """Refuse inside whatever is not safetensors.

    An index of shards can name files of any kind, and diffusers and transformers read each by its own name.
    All other kinds they read with `torch.load`.

    Raises:
        ModelNotLoaded: the model at `place` names such a file.
    """

    def refuse(file: object, *_: object, **__: object) -> NoReturn:
        raise ModelNotLoaded(
            f"{place} has weights in {Path(str(file)).name}: only .safetensors are read, as other formats "
            "can carry code. Save it with diffusers' save_pretrained once, and name that folder."
        )

    load, torch.load = torch.load, refuse
    try:
        yield
    finally:
        torch.load = load


def check_configurations(place: str, index: Mapping[str, Any], revision: str | None) -> None:
    """Look into the configurations of a pipeline's text encoders, before one of them is made.

    Args:
        index: of the pipeline (`model_index.json`).

    Raises:
        ModelNotLoaded: one names code or a kernel, which transformers would fetch and run.
    """
    for part, home in index.items():
        if not isinstance(home, (list, tuple)) or home[0] in (None, "diffusers"):
            continue
        if str(home[-1]).endswith(WITHOUT_WEIGHTS):
            continue
        config, _ = PretrainedConfig.get_config_dict(place, subfolder=part, revision=revision)
        for name, value in _settings(config):
            if (name in BRINGS_CODE and value) or (
                name.removeprefix("_").startswith("attn_implementation") and value not in ATTENTIONS
            ):
                raise ModelNotLoaded(
                    f"{place} names code of its own in the configuration of its {part} ({name}), and such "
                    "code is never run."
                )


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every setting, those of nested configurations too."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, Mapping):
            yield from _settings(value)
