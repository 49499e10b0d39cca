"""Load a pipeline: the bundled model, a folder, a single file, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    SchedulerMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import are_progress_bars_disabled

from compare.errors import ModelNotLoaded
from compare.models.load_errors import came_from_the_hub, first_line, told_of
from compare.models.single_file import XL, SingleFile
from compare.models.vocabulary import Vocabulary
from compare.report import ModelInfo
from compare.request import SIZE_MULTIPLE, SIZES, Request

CLASSIFIER = "classifier.safetensors"
BUNDLED = Path(__file__).resolve().parents[2] / "assets" / "mini-sdxl"
PIPELINES = {kind.__name__: kind for kind in (StableDiffusionXLPipeline, StableDiffusionPipeline)}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LIBRARIES = {"diffusers", "transformers", "stable_diffusion"}  # the last has the safety checker


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
    """For a single file, the repository whose configuration it was given; `revision` is that repository's."""
    scheduler_changes: Mapping[str, str | bool] = field(default_factory=dict)
    """Where a single file asks for another schedule than that configuration."""
    remark: str | None = None
    """A sentence on what had to be assumed of a single file."""


SDXL = Source(
    place=XL.config,
    name="Stable Diffusion XL 1.0",
    revision=XL.revision,
    variant="fp16",
    vae="madebyollin/sdxl-vae-fp16-fix",  # the model's own overflows in float16
    vae_revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
)
WIDE_WORLD_EXAMPLES = (
    "a red fox in fresh snow, morning light, photograph",
    "a street market in the rain at night, reflections, highly detailed",
    "an old lighthouse on a cliff, storm clouds, oil painting",
    "macro photograph of a dew-covered spider web",
)


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a model."""

    width: int
    height: int
    steps: int
    guidance_scale: float


BUNDLED_DEFAULTS = Defaults(width=512, height=512, steps=12, guidance_scale=2.5)


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
    classifier_file: Path | None = None
    """Weights of a network that reads this model's pictures (`compare.study.classifier`), if there is one."""
    fallback: str | None = None
    """A sentence, where another model than the default had to be taken."""
    remark: str | None = None
    """A sentence, where something had to be assumed of the model."""

    def request(self, prompt: str, **changes: Any) -> Request:
        """A `Request` with this model's size, steps and guidance, except for the fields given.

        Raises `InvalidRequest`.
        """
        settings = {**vars(self.defaults), **changes}
        return Request(prompt=prompt, **settings)


def attention_backends(device: str | torch.device) -> tuple[str, ...]:
    """The attention backends that truly run on this device, "sdpa" first."""
    return ("sdpa", "xformers") if _xformers_runs(torch.device(device)) else ("sdpa",)


def load_pipeline(
    model: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str = "sdpa",
) -> LoadedPipeline:
    """Load a text-to-image pipeline of the Stable Diffusion or Stable Diffusion XL kind.

    Args:
        model: a pipeline folder, a single `.safetensors` file in the layout of the original authors, or a
            repository on the Hub, also as `owner/name@revision`. By default SDXL where there is a CUDA
            device, and the bundled model where there is none or SDXL cannot be had (`fallback` then says
            why). Only safetensors are read; no code from a repository is run.
        device: by default CUDA, or else the CPU.
        dtype: by default float32 on a CPU and float16 elsewhere.
        attention: one of `attention_backends(device)`.

    Raises:
        ModelNotLoaded: with a sentence that says where it looked and what to do.
    """
    device, dtype = placement(device, dtype, attention)
    source = _source(model) if model is not None else _default_source(device)
    fallback = None
    try:
        pipe, source = _load(source, device, dtype)
    except ModelNotLoaded as error:
        if model is not None or source is not SDXL:
            raise
        fallback = f"The small bundled model is running instead of {SDXL.name}: {error}"
    if fallback:  # outside of `except`, which would keep the frames of the error, and what they loaded
        pipe, source = _load(_bundled(), device, dtype)
    if attention == "xformers":
        pipe.enable_xformers_memory_efficient_attention()
    return loaded_pipeline(pipe, source, attention, fallback)


def loaded_pipeline(
    pipe: DiffusionPipeline, source: Source, attention: str = "sdpa", fallback: str | None = None
) -> LoadedPipeline:
    """What there is to say about a pipeline that is in memory already."""
    vocabulary = _vocabulary(Path(source.place))
    classifier = Path(source.place) / CLASSIFIER
    info = ModelInfo(
        name=source.name,
        source=_shown(source.place),
        revision=source.revision,
        variant=source.variant,
        vae=source.vae,
        vae_revision=source.vae_revision,
        config=source.config,
        scheduler_changes=dict(source.scheduler_changes),
        pipeline=type(pipe).__name__,
        scheduler=type(pipe.scheduler).__name__,
        unet_parameters=sum(weight.numel() for weight in pipe.unet.parameters()),
        device=pipe.device.type,
        device_name=_device_name(pipe.device),
        dtype=str(pipe.unet.dtype).removeprefix("torch."),
        attention=attention,
    )
    return LoadedPipeline(
        pipe=pipe,
        info=info,
        device=pipe.device,
        dtype=pipe.unet.dtype,
        defaults=_defaults(pipe, source),
        examples=vocabulary.examples if vocabulary else WIDE_WORLD_EXAMPLES,
        vocabulary=vocabulary,
        classifier_file=classifier if classifier.is_file() else None,
        fallback=fallback,
        remark=source.remark,
    )


def with_scheduler(loaded: LoadedPipeline, name: str) -> LoadedPipeline:
    """The same pipeline with another scheduler of diffusers, which takes over the settings that it knows.

    Raises:
        ModelNotLoaded: diffusers has no such scheduler.
    """
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise ModelNotLoaded(f"diffusers has no scheduler {name!r}; one is EulerDiscreteScheduler.")
    loaded.pipe.scheduler = kind.from_config(loaded.pipe.scheduler.config)
    return replace(loaded, info=loaded.info.model_copy(update={"scheduler": name}))


def placement(
    device: str | torch.device | None, dtype: torch.dtype | None, attention: str
) -> tuple[torch.device, torch.dtype]:
    """Where to put a model, and in which dtype. By default on CUDA or else the CPU; float32 on a CPU only.

    Raises:
        ModelNotLoaded: it is not a device, or this kind of attention does not run on it.
    """
    device = _device(device)
    if attention != "sdpa" and attention not in attention_backends(device):
        there_is = ", ".join(attention_backends(device))
        raise ModelNotLoaded(f"Attention by {attention!r} does not run on {device}; there is {there_is}.")
    return device, dtype or (torch.float32 if device.type == "cpu" else torch.float16)


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Say it in a sentence (`ModelNotLoaded`) where a model cannot be put on the device."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelNotLoaded(
            f"The model does not fit into the memory of {device}: try a smaller one, or --device cpu."
        ) from error
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built for the device
        raise ModelNotLoaded(f"There is no {device} here: {first_line(error)}") from error


def _device(device: str | torch.device | None) -> torch.device:
    try:
        return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ModelNotLoaded(f"{device!r} is not a device; try cpu or cuda.") from error


def _default_source(device: torch.device) -> Source:
    return SDXL if device.type == "cuda" else _bundled()


def _bundled() -> Source:
    if not (BUNDLED / "model_index.json").is_file():
        raise ModelNotLoaded(
            f"The bundled model is missing: looked in {BUNDLED}. Check the repository out with its assets, "
            "or name another model: a folder, a .safetensors file or a repository on the Hub."
        )
    return Source(place=str(BUNDLED), name="mini-sdxl (bundled)")


def _source(model: str | Path) -> Source:
    path, text = Path(model), str(model)
    if text == SDXL.place:
        return SDXL
    if path.is_dir():
        if path.resolve() == BUNDLED:
            return _bundled()
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
    if found := re.fullmatch(r"(\w[\w.-]*/(\w[\w.-]*))(?:@([\w./-]+))?", text):
        place, name, revision = found.groups()
        return Source(place=place, name=name, revision=revision)
    raise ModelNotLoaded(
        f"There is no model {text}: it is neither a folder nor a .safetensors file here, nor a repository on "
        "the Hub, whose names look like owner/name."
    )


def _load(source: Source, device: torch.device, dtype: torch.dtype) -> tuple[DiffusionPipeline, Source]:
    """The pipeline on its device, and the source with all that was found out about it."""
    load = _load_file if Path(source.place).is_file() else _load_pipeline
    pipe, source = load(source, dtype)
    with on_device(device):
        pipe.to(device)
    return pipe, source


def _load_file(source: Source, dtype: torch.dtype) -> tuple[DiffusionPipeline, Source]:
    with _quiet(local=True), told_of(source.place):
        file = SingleFile.read(Path(source.place))
        # What the Hub answers is about the repository of the configuration, not about the file.
        with _told_of_config(file):
            pipe = file.load(dtype)
    return pipe, replace(
        source,
        config=file.family.config,
        revision=file.family.revision,
        scheduler_changes=file.scheduler_changes,
        remark=file.remark,
    )


@contextmanager
def _told_of_config(file: SingleFile) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not came_from_the_hub(error):
            raise
        family = file.family
        try:
            with told_of(family.config, family.revision):
                raise
        except ModelNotLoaded as reason:
            raise ModelNotLoaded(
                f"{file.path} needs the configuration of {family.name}, which it does not carry. {reason}"
            ) from error


def _load_pipeline(source: Source, dtype: torch.dtype) -> tuple[DiffusionPipeline, Source]:
    place, local = source.place, Path(source.place).is_dir()
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    with _quiet(local):
        with told_of(place, source.revision):
            index = DiffusionPipeline.load_config(place, revision=source.revision)
            kind = _kind(place, index)
            if not local:
                source = replace(source, revision=_commit(source))
        if source.vae:
            with told_of(source.vae, source.vae_revision):
                options["vae"] = AutoencoderKL.from_pretrained(
                    source.vae, revision=source.vae_revision, **options
                )
        with told_of(place, source.revision):
            return _from_pretrained(kind, source, options)


def _kind(place: str, index: Mapping[str, Any]) -> type[DiffusionPipeline]:
    """The class of a pipeline, where all its parts are of libraries that are installed anyway."""
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise ModelNotLoaded(f"{place} is a {name}; this works with {' and '.join(PIPELINES)}.")
    for part, home in index.items():
        if isinstance(home, (list, tuple)) and home and home[0] is not None and home[0] not in LIBRARIES:
            raise ModelNotLoaded(
                f"{place} brings code of its own for its {part} ({home[0]}), and such code is never run."
            )
    return PIPELINES[name]


def _commit(source: Source) -> str | None:
    """The commit behind a branch or tag: what is loaded next is of the same, and the report can name it."""
    index = try_to_load_from_cache(source.place, "model_index.json", revision=source.revision)
    return Path(index).parent.name if isinstance(index, str) else source.revision


def _from_pretrained(
    kind: type[DiffusionPipeline], source: Source, options: Mapping[str, Any]
) -> tuple[DiffusionPipeline, Source]:
    """Weights in half precision have a name of their own; many models have only these, or only the others."""

    def load(variant: str | None) -> tuple[DiffusionPipeline, Source]:
        pipe = kind.from_pretrained(source.place, revision=source.revision, variant=variant, **options)
        return pipe, replace(source, variant=variant)

    if source.variant:
        return load(source.variant)
    preferred, other = ("fp16", None) if options["dtype"] == torch.float16 else (None, "fp16")
    failed: list[Exception] = []
    for variant in (preferred, other):
        with _kept(failed):
            return load(variant)
    raise failed[0 if preferred is None else 1]  # what is said of the plain name is the clearer


@contextmanager
def _kept(errors: list[Exception]) -> Iterator[None]:
    """Keep what says that a file is not there, or not right; the Hub's own answers go on."""
    try:
        yield
    except (OSError, ValueError) as error:
        if came_from_the_hub(error):
            raise
        errors.append(error)


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """No bars for what takes a moment; a download keeps its own."""
    bars = not are_progress_bars_disabled()
    if local:
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()  # and the Hub's
    try:
        with warnings.catch_warnings():
            # diffusers still passes an argument that the Hub's client no longer takes.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks.*")
            yield
    finally:
        if local and bars:
            diffusers.utils.logging.enable_progress_bar()
            transformers.utils.logging.enable_progress_bar()


def _xformers_runs(device: torch.device) -> bool:
    """Being importable says little: the package may have no operator for this device or this PyTorch."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    try:
        from xformers.ops import memory_efficient_attention

        tokens = torch.zeros(1, 16, 1, 64, dtype=torch.float16, device=device)
        memory_efficient_attention(tokens, tokens, tokens)
    except Exception:
        return False
    return True


def _vocabulary(folder: Path) -> Vocabulary | None:
    file = folder / "vocabulary.json"
    if not file.is_file():
        return None
    try:
        return Vocabulary.load(file)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelNotLoaded(f"{_shown(str(file))} is broken: {first_line(error)}") from error


def _defaults(pipe: DiffusionPipeline, source: Source) -> Defaults:
    if Path(source.place).resolve() == BUNDLED:
        return BUNDLED_DEFAULTS
    trained = pipe.unet.config.sample_size * pipe.vae_scale_factor
    side = min(max(trained // SIZE_MULTIPLE * SIZE_MULTIPLE, SIZES[0]), SIZES[1])
    guidance = 5.0 if isinstance(pipe, StableDiffusionXLPipeline) else 7.5
    return Defaults(width=side, height=side, steps=30, guidance_scale=guidance)


def _shown(place: str) -> str:
    """The bundled model by its path in the project: where that lies is nobody's business."""
    path = Path(place)
    if path.is_absolute() and path.is_relative_to(BUNDLED.parent.parent):
        return path.relative_to(BUNDLED.parent.parent).as_posix()
    return place


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
