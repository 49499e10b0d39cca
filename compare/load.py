"""Load a pipeline: the bundled model, a folder, a single file, or a repository on the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.report import ModelInfo
from compare.request import Request

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

BUNDLED = Path(__file__).resolve().parent.parent / "assets" / "mini-sdxl"


class ModelNotLoaded(RuntimeError):
    """A model is missing, broken or of the wrong kind. `str(error)` says where it was looked for, what to do."""


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a model."""

    width: int
    height: int
    steps: int
    guidance_scale: float


@dataclass(frozen=True)
class Vocabulary:
    """What a model trained on a small world has seen. Read from `vocabulary.json` beside the pipeline."""

    objects: tuple[str, ...]
    backgrounds: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline, ready to run, and what there is to say about it."""

    pipe: DiffusionPipeline
    info: ModelInfo
    device: torch.device
    dtype: torch.dtype
    defaults: Defaults
    examples: tuple[str, ...]
    """Prompts that work with this model."""
    vocabulary: Vocabulary | None = None
    """None for a model of the wide world."""
    fallback: str | None = None
    """A sentence, where another model than the default had to be taken."""

    def request(self, prompt: str, **changes: Any) -> Request:
        """A `Request` with this model's size, steps and guidance, except for the fields given.

        Raises `InvalidRequest`.
        """
        settings = {**vars(self.defaults), **changes}
        return Request(prompt=prompt, **settings)


def attention_backends(device: str | torch.device) -> tuple[str, ...]:
    """The attention backends that truly run on this device, "sdpa" first."""
    raise NotImplementedError


def load_pipeline(
    model: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str = "sdpa",
) -> LoadedPipeline:
    """Load a text-to-image pipeline of the Stable Diffusion or Stable Diffusion XL kind.

    Args:
        model: a pipeline folder, a single `.safetensors` file, or a repository on the Hub. By default SDXL
            where there is a CUDA device, and the bundled model where there is none or the Hub cannot be
            reached (`fallback` then says so). Only safetensors are read, and no code from a repository is run.
        device: by default CUDA, or else the CPU.
        dtype: by default float32 on a CPU and float16 elsewhere.
        attention: one of `attention_backends(device)`.

    Raises:
        ModelNotLoaded: with a sentence that says where it looked and what to do.
    """
    raise NotImplementedError
