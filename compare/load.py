"""Load a pipeline: the bundled model, a folder, a single file, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import are_progress_bars_disabled

from compare.report import ModelInfo
from compare.request import SIZE_MULTIPLE, SIZES, Request
from compare.vocabulary import Vocabulary

CLASSIFIER = "classifier.safetensors"
BUNDLED = Path(__file__).resolve().parent.parent / "assets" / "mini-sdxl"
PIPELINES = {kind.__name__: kind for kind in (StableDiffusionXLPipeline, StableDiffusionPipeline)}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ModelNotLoaded(RuntimeError):
    """A model is missing, broken or of the wrong kind. `str(error)` says where it was looked for."""


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


SDXL = Source(
    place="stabilityai/stable-diffusion-xl-base-1.0",
    name="Stable Diffusion XL 1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
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


BUNDLED_DEFAULTS = Defaults(width=512, height=512, steps=12, guidance_scale=4.0)


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
    """Weights of a network that reads this model's pictures (`compare.classifier`), where there is one."""
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
    return ("sdpa", "xformers") if _xformers_runs(torch.device(device)) else ("sdpa",)


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
            reached (`fallback` then says so). Only safetensors are read; no code from a repository is run.
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
        pipe = _load(source, dtype)
    except ModelNotLoaded as error:
        if model is not None or source is not SDXL:
            raise
        fallback = f"The small bundled model is running instead of {SDXL.name}: {error}"
        source = _bundled()
        pipe = _load(source, dtype)
    with on_device(device):
        pipe.to(device)
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
    if attention not in attention_backends(device):
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
            f"The model does not fit into the memory of {device}: try --device cpu."
        ) from error
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built for the device
        raise ModelNotLoaded(f"There is no {device} here: {_first_line(error)}") from error


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
    if re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", text):
        return Source(place=text, name=text.split("/")[1])
    raise ModelNotLoaded(
        f"There is no model {text}: it is neither a folder nor a .safetensors file here, nor a repository on "
        "the Hub, whose names look like owner/name."
    )


def _load(source: Source, dtype: torch.dtype) -> DiffusionPipeline:
    place = source.place
    try:
        if Path(place).is_file():
            with _quiet(local=True):
                return _load_file(place, dtype)
        options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
        with _quiet(local=Path(place).is_dir()):
            index = DiffusionPipeline.load_config(place, revision=source.revision)
            kind = PIPELINES.get(index.get("_class_name"))
            if kind is None:
                raise ModelNotLoaded(
                    f"{place} is a {index.get('_class_name')}; this works with {' and '.join(PIPELINES)}."
                )
            if source.vae:
                options["vae"] = AutoencoderKL.from_pretrained(
                    source.vae, revision=source.vae_revision, **options
                )
            return kind.from_pretrained(place, revision=source.revision, variant=source.variant, **options)
    except ModelNotLoaded:
        raise
    except (
        Exception
    ) as error:  # every layer below has its own: hub, safetensors, JSON, shapes that do not fit
        raise ModelNotLoaded(_what_went_wrong(source, error)) from error


def _load_file(place: str, dtype: torch.dtype) -> DiffusionPipeline:
    from safetensors import safe_open

    with safe_open(place, framework="pt") as weights:
        xl = any(name.startswith("conditioner.embedders.1.") for name in weights.keys())  # noqa: SIM118
    kind = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
    return kind.from_single_file(place, dtype=dtype)


def _what_went_wrong(source: Source, error: Exception) -> str:
    if Path(source.place).is_file() and _is_of_the_hub(error):
        return (
            f"{source.place} needs the configuration of its pipeline, which is not in the local cache, and "
            f"the Hub did not give it ({_first_line(error)}) Connect once, or name a pipeline folder."
        )
    if Path(source.place).exists():
        return f"{_shown(source.place)} could not be loaded, it seems broken: {_first_line(error)}"
    return (
        f"{source.place} could not be fetched: it is not in the local cache, and the Hub did not give it "
        f"({_first_line(error)}) Check the name and the connection, or name a folder on this machine."
    )


def _is_of_the_hub(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, came from the Hub's client or from the connection to it."""
    of_the_hub = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError)
    while error is not None:
        if isinstance(error, of_the_hub):
            return True
        error = error.__cause__ or error.__context__
    return False


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
        raise ModelNotLoaded(f"{_shown(str(file))} is broken: {_first_line(error)}") from error


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


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return (line if len(line) <= 200 else line[:199] + "…").rstrip(".") + "."
