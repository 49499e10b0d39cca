"""Load a pipeline, and say what it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
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
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import are_progress_bars_disabled

from compare.errors import ModelNotLoaded
from compare.models.load_errors import first_line, is_hub_error, load_errors
from compare.models.only_data import check_configurations, only_safetensors
from compare.models.placement import device_name, moving_to, placement
from compare.models.single_file import SingleFile
from compare.models.source import (
    CLASSIFIER,
    GENERAL_EXAMPLES,
    SDXL,
    Defaults,
    Source,
    bundled,
    default_source,
    defaults_of,
    public_place,
    source_of,
)
from compare.models.vocabulary import Vocabulary
from compare.report import ModelInfo
from compare.request import Request

PIPELINES = {kind.__name__: kind for kind in (StableDiffusionXLPipeline, StableDiffusionPipeline)}
LIBRARIES = {"diffusers", "transformers", "stable_diffusion"}  # the last has the safety checker


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
    """What a model trained on few things can draw; None for a general model."""
    classifier_file: Path | None = None
    """Weights of a network that reads this model's pictures (`compare.study.classifier`), if there is one."""
    fallback: str | None = None
    """Why another model than the default is running, if so."""
    remark: str | None = None
    """What had to be assumed about the model, if anything."""

    def request(self, prompt: str, **changes: Any) -> Request:
        """A `Request` with this model's size, steps and guidance, except for the fields given.

        Raises `InvalidRequest`.
        """
        return Request(prompt=prompt, **{**vars(self.defaults), **changes})


def load_pipeline(
    model: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str = "sdpa",
) -> LoadedPipeline:
    """Load a text-to-image pipeline of the Stable Diffusion or Stable Diffusion XL kind.

    Only safetensors are read; no code from a repository is run, and no kernel fetched that it names.

    Args:
        model: a pipeline folder, a single `.safetensors` file in the layout of the original authors, or a
            repository on the Hub, also as `owner/name@revision`. By default SDXL on CUDA, and the bundled
            model elsewhere or if SDXL is unavailable (`fallback` then says why).
        device: by default CUDA, or else the CPU.
        dtype: by default float32 on a CPU and float16 elsewhere.
        attention: one of `attention_backends(device)`. "sdpa" (PyTorch's own) is recommended.

    Raises:
        ModelNotLoaded: with a sentence that says where it looked and what to do.
    """
    device, dtype = placement(device, dtype, attention)
    source = default_source(device) if model is None else source_of(model)
    fallback = None
    try:
        pipe, source = _load(source, device, dtype)
    except ModelNotLoaded as error:
        if model is not None or source is not SDXL:
            raise
        fallback = f"The small bundled model is running instead of {SDXL.name}: {error}"
    if fallback:  # outside of `except`, which would keep the frames of the error, and what they loaded
        pipe, source = _load(bundled(), device, dtype)
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
        source=public_place(source.place),
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
        device_name=device_name(pipe.device),
        dtype=str(pipe.unet.dtype).removeprefix("torch."),
        attention=attention,
    )
    return LoadedPipeline(
        pipe=pipe,
        info=info,
        device=pipe.device,
        dtype=pipe.unet.dtype,
        defaults=defaults_of(pipe, source),
        examples=vocabulary.examples if vocabulary else GENERAL_EXAMPLES,
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


def _load(source: Source, device: torch.device, dtype: torch.dtype) -> tuple[DiffusionPipeline, Source]:
    """The pipeline on its device, and the source with all that was found out about it."""
    load = _load_file if Path(source.place).is_file() else _load_parts
    with _quiet(local=Path(source.place).exists()), only_safetensors(source.place):
        pipe, source = load(source, dtype)
    with moving_to(device):
        pipe.to(device)
    return pipe, source


def _load_file(source: Source, dtype: torch.dtype) -> tuple[DiffusionPipeline, Source]:
    with load_errors(source.place):
        file = SingleFile.read(Path(source.place))
        family = file.family
        try:
            pipe = file.load(dtype)
        except Exception as error:
            if not is_hub_error(error):
                raise
            try:  # the error is about the repository of the configuration, not about the file
                with load_errors(family.config, family.revision):
                    raise
            except ModelNotLoaded as reason:
                raise ModelNotLoaded(
                    f"{file.path} needs the configuration of {family.name}, which it does not carry. {reason}"
                ) from error
    return pipe, replace(
        source,
        config=family.config,
        revision=family.revision,
        scheduler_changes=file.scheduler_changes,
        remark=file.remark,
    )


def _load_parts(source: Source, dtype: torch.dtype) -> tuple[DiffusionPipeline, Source]:
    place = source.place
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    with load_errors(place, source.revision):
        index = DiffusionPipeline.load_config(place, revision=source.revision)
        kind = _kind(place, index)
        if not Path(place).is_dir():
            source = replace(source, revision=_commit(source))
        check_configurations(place, index, source.revision)
    if source.vae:
        with load_errors(source.vae, source.vae_revision):
            options["vae"] = AutoencoderKL.from_pretrained(
                source.vae, revision=source.vae_revision, **options
            )
    with load_errors(place, source.revision):
        return _from_pretrained(kind, source, options)


def _kind(place: str, index: Mapping[str, Any]) -> type[DiffusionPipeline]:
    """The class of a pipeline. Refused if a part of it is not from a library that is installed anyway."""
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
    """The commit behind a branch or tag: all parts are loaded from it, and the report names it."""
    index = try_to_load_from_cache(source.place, "model_index.json", revision=source.revision)
    return Path(index).parent.name if isinstance(index, str) else source.revision


def _from_pretrained(
    kind: type[DiffusionPipeline], source: Source, options: Mapping[str, Any]
) -> tuple[DiffusionPipeline, Source]:
    """Many models have weights under their plain names only, or only as the variant "fp16"."""
    variants = ["fp16", None] if options["dtype"] == torch.float16 else [None, "fp16"]
    errors: dict[str | None, Exception] = {}
    for variant in [source.variant] if source.variant else variants:
        try:
            pipe = kind.from_pretrained(source.place, revision=source.revision, variant=variant, **options)
            return pipe, replace(source, variant=variant)
        except (OSError, ValueError) as error:  # noqa: PERF203
            if is_hub_error(error):
                raise
            errors[variant] = error
    raise errors[source.variant]  # by default the one about the plain name, which is the clearer one


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """No progress bars for local models, which load in a moment; a download keeps its own."""
    were_shown = not are_progress_bars_disabled()
    if local:
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()  # and the Hub's
    try:
        with warnings.catch_warnings():
            # diffusers still passes an argument that the Hub's client no longer takes.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks.*")
            yield
    finally:
        if local and were_shown:
            diffusers.utils.logging.enable_progress_bar()
            transformers.utils.logging.enable_progress_bar()


def _vocabulary(folder: Path) -> Vocabulary | None:
    file = folder / "vocabulary.json"
    if not file.is_file():
        return None
    try:
        return Vocabulary.load(file)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelNotLoaded(f"{public_place(str(file))} is broken: {first_line(error)}") from error
