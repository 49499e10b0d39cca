"""The records of a comparison. `compare.files` writes and reads them."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, computed_field

from compare.methods import BASELINE, method_of
from compare.request import Request, labelled

INVISIBLE, HARD_TO_SEE = 40.0, 30.0
"""dB of PSNR from which a difference is not seen, and from which it is hard to see."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class LevelTokens(_Record):
    """What a method does to the self-attention blocks of one grid."""

    level: int
    """0 is the finest grid on which the UNet has self-attention; each level halves it."""
    grid: tuple[int, int]
    """Rows and columns of tokens."""
    blocks: int
    tokens: int
    query_tokens: int
    kv_tokens: int

    @property
    def kept(self) -> float:
        """The share of keys and values that is left, 0 to 1."""
        return self.kv_tokens / self.tokens


class PlanSummary(_Record):
    """The work of a method by count. FLOPs are those of one UNet call for one picture."""

    flops_before: int
    flops_after: int | None
    """None: what the method does has not been counted."""
    flop_speedup: float | None
    """FLOPs of all the baseline's steps over FLOPs of all this method's steps."""
    ceiling: float | None
    """The FLOP speed-up if all that a method of this kind works on were free, at the levels it is used at.
    It bounds FLOPs, not seconds. None if the method leaves attention alone."""
    levels: tuple[LevelTokens, ...]


class Times(_Record):
    """Wall clock, in seconds."""

    denoising: tuple[float, ...]
    """One per repeat: the denoising loop alone, synchronised at both ends, previews not counted."""
    decoding: float
    """From the final latents to the picture, in the first repeat."""
    steps: tuple[float, float] | None = None
    """The fastest and the slowest of all steps that do the same work; None where steps have no time of their
    own, as on an accelerator, or nobody knows which are alike."""

    @computed_field
    @property
    def seconds(self) -> float:
        """The median of `denoising`."""
        return median(self.denoising)

    @property
    def fastest(self) -> float:
        return min(self.denoising)

    @property
    def slowest(self) -> float:
        return max(self.denoising)


class Scores(_Record):
    """How close a picture is to the baseline's."""

    identical: bool
    """Not one pixel differs."""
    psnr: float | None
    """Peak signal-to-noise ratio in dB; None if the pictures are identical (infinite)."""
    ssim: float
    """Structural similarity, 1 for identical pictures."""
    high_frequency: float | None
    """The energy of fine detail as a share of the baseline's: spatial frequencies of the luminance above half
    of the highest that the picture can hold. Below 1 is blurred, above 1 is noise or sharpening. None if the
    baseline has none."""


class Result(_Record):
    """One method's picture, and what it took."""

    method: str
    settings: str = ""
    """What of the method's settings is not the default, in words (`Request.settings_of`)."""
    steps: int
    times: Times
    plan: PlanSummary
    speedup: float | None = None
    """Baseline's seconds over this method's; None if Baseline was not run."""
    scores: Scores | None = None
    """None for Baseline itself, and if Baseline was not run."""
    peak_memory: int | None = None
    """Most bytes allocated on the accelerator at any one time in the denoising loop, the model included;
    None on a CPU."""
    image: Image.Image = Field(exclude=True, repr=False)
    token_record: Image.Image | None = Field(default=None, exclude=True, repr=False)
    """Which tokens were kept in the first and the last block that the method changes on the finest grid. A
    pixel for each token, the grids of all steps (`info["steps"]`) of all blocks (`info["blocks"]`) below each
    other. Red · 256 + green is the index of the token that this one was merged into, or whose key and value
    stand for its own; its own if it was kept. None if all were, or nobody has noted which."""

    @property
    def label(self) -> str:
        """The method, and what is unusual in its settings: no picture is shown under a wrong name."""
        return labelled(method_of(self.method), self.settings)

    @property
    def is_baseline(self) -> bool:
        return self.method == BASELINE.id


class ModelInfo(_Record):
    """What ran, in enough detail to load it again."""

    name: str
    source: str
    """A folder, a file, or a repository on the Hugging Face Hub."""
    revision: str | None = None
    variant: str | None = None
    vae: str | None = None
    """The repository of the VAE, if it is not the model's own."""
    vae_revision: str | None = None
    config: str | None = None
    """The repository that a single file had its configuration from, at `revision`."""
    scheduler_changes: dict[str, bool | str] = {}
    """What the schedule of a single file changes in that configuration."""
    pipeline: str
    """Class name in diffusers."""
    scheduler: str
    unet_parameters: int
    device: str
    """"cpu", "cuda" or whatever PyTorch calls it."""
    device_name: str
    dtype: str
    attention: str


class Environment(_Record):
    """The machine and the packages. Times mean nothing without them."""

    platform: str
    python: str
    cpu: str
    cores: int
    """Cores this process may use."""
    threads: int
    """Threads PyTorch uses on the CPU."""
    memory: int
    """Bytes of main memory."""
    accelerator: str | None
    accelerator_memory: int | None
    packages: dict[str, str]
    """Version by distribution name."""

    @property
    def hardware(self) -> str:
        """What did the work: the accelerator, or else the CPU."""
        return self.accelerator or self.cpu


class Comparison(_Record):
    """A finished comparison. `report.json` in the folder it is saved to is this, without the pictures."""

    report_version: Literal[1] = 1
    date: datetime
    """When it ended, UTC."""
    request: Request
    model: ModelInfo
    environment: Environment
    notes: tuple[str, ...]
    """Sentences that a reader of the numbers should know."""
    results: tuple[Result, ...]

    def result(self, method: str) -> Result | None:
        """The result of the method with this id, or None."""
        return next((result for result in self.results if result.method == method), None)

    @property
    def baseline(self) -> Result | None:
        return self.result(BASELINE.id)
