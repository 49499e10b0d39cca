"""Where a model comes from: the bundled one, a folder, a single file or a repository on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline

from compare.errors import ModelNotLoaded, quoted
from compare.models.single_file import XL
from compare.request import SIZE_MULTIPLE, SIZES

BUNDLED = Path(__file__).resolve().parents[2] / "assets" / "mini-sdxl"
CLASSIFIER = "classifier.safetensors"


@dataclass(frozen=True)
class Source:
    """Where a model comes from."""

    place: str
    """A folder, a file or a repository."""
    name: str
    revision: str | None = None
    variant: str | None = None
    vae: str | None = None
    vae_revision: str | None = None
    config: str | None = None
    """For a single file, the repository of its configuration; `revision` is then that repository's."""
    scheduler_changes: Mapping[str, str | bool] = field(default_factory=dict)
    """What a single file changes in the schedule of that configuration."""
    remark: str | None = None
    """A sentence on what had to be assumed about a single file."""


SDXL = Source(
    place=XL.config,
    name="Stable Diffusion XL 1.0",
    revision=XL.revision,
    variant="fp16",
    vae="madebyollin/sdxl-vae-fp16-fix",  # the model's own overflows in float16
    vae_revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
)
GENERAL_EXAMPLES = (
    "a red fox in fresh snow, morning light, photograph",
    "a street market in the rain at night, reflections, highly detailed",
    "an old lighthouse on a cliff, storm clouds, oil painting",
    "macro photograph of a dew-covered spider web",
)


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a model. Width and height are in pixels."""

    width: int
    height: int
    steps: int
    guidance_scale: float


BUNDLED_DEFAULTS = Defaults(width=512, height=512, steps=12, guidance_scale=2.5)


def source_of(model: str | Path) -> Source:
    """Where the model is that a user named.

    Raises:
        ModelNotLoaded: it is neither a pipeline folder, nor a `.safetensors` file, nor a name on the Hub.
    """
    path, text = Path(model), str(model)
    try:
        path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ModelNotLoaded(f"There is no model {quoted(text)}: {error.strerror}.") from error
    if text == SDXL.place:
        return SDXL
    if path.is_dir():
        if path.resolve() == BUNDLED:
            return bundled()
        if not (path / "model_index.json").is_file():
            raise ModelNotLoaded(f"{text} is not a pipeline folder: it has no model_index.json.")
        return Source(place=text, name=path.resolve().name)
    if path.suffix in (".safetensors", ".ckpt", ".bin", ".pt", ".pth"):
        if path.suffix != ".safetensors":
            raise ModelNotLoaded(
                f"{text}: of single files only .safetensors are read, as they cannot carry code."
            )
        if not path.is_file():
            raise ModelNotLoaded(f"There is no file {text}.")
        return Source(place=text, name=path.stem)
    if found := re.fullmatch(r"(\w[\w.-]{0,95}/(\w[\w.-]{0,95}))(?:@([\w./-]{1,100}))?", text):
        place, name, revision = found.groups()
        return Source(place=place, name=name, revision=revision)
    raise ModelNotLoaded(
        f"There is no model {quoted(text)}: it is neither a folder nor a .safetensors file here, nor a "
        "repository on the Hub, whose names look like owner/name."
    )


def default_source(device: torch.device) -> Source:
    """SDXL on CUDA, the bundled model elsewhere."""
    return SDXL if device.type == "cuda" else bundled()


def bundled() -> Source:
    """The bundled model. Raises `ModelNotLoaded` if it is missing."""
    return Source(place=str(bundled_folder("model_index.json")), name="mini-sdxl (bundled)")


def bundled_folder(*needed: str) -> Path:
    """The folder of the bundled model. Raises `ModelNotLoaded` if one of the files needed is missing."""
    if not all((BUNDLED / file).is_file() for file in needed):
        raise ModelNotLoaded(
            f"The bundled model is missing: looked in {BUNDLED}. Check the repository out with its assets, "
            "or name another model: a folder, a .safetensors file or a repository on the Hub."
        )
    return BUNDLED


def defaults_of(pipe: DiffusionPipeline, source: Source) -> Defaults:
    """The size the model was trained on, and steps and guidance that are usual for its kind."""
    if Path(source.place).resolve() == BUNDLED:
        return BUNDLED_DEFAULTS
    trained = pipe.unet.config.sample_size * pipe.vae_scale_factor
    side = min(max(trained // SIZE_MULTIPLE * SIZE_MULTIPLE, SIZES[0]), SIZES[1])
    guidance = 5.0 if isinstance(pipe, StableDiffusionXLPipeline) else 7.5
    return Defaults(width=side, height=side, steps=30, guidance_scale=guidance)


def public_place(place: str) -> str:
    """A place as visitors may see it: the bundled model by its path inside the project."""
    path = Path(place)
    if path.is_absolute() and path.is_relative_to(BUNDLED.parents[1]):
        return path.relative_to(BUNDLED.parents[1]).as_posix()
    return place
