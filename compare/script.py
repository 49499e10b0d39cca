"""The same picture from the user's own script."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from compare.methods import method_of
from compare.report import ModelInfo
from compare.request import Request
from todo_patch import Forecast, ToDo, ToMe


def script_for(request: Request, method: str, model: ModelInfo, steps: int | None = None) -> str:
    """Lines of Python that make the picture of one method; of this project they need only `todo_patch`.

    Args:
        request: the settings.
        method: the id of a method.
        model: `LoadedPipeline.info`.
        steps: instead of the request's; `Result.steps` for "fewer-steps".

    Raises:
        InvalidRequest: the method cannot be used with these settings.
    """
    chosen = method_of(method)
    patches = chosen.patches(request)
    call = [
        "image = pipe(",
        f"    {_quoted(request.prompt)},",
        *([f"    negative_prompt={_quoted(request.negative_prompt)},"] if request.negative_prompt else []),
        f"    height={request.height},",
        f"    width={request.width},",
        f"    num_inference_steps={steps or request.steps},",
        f"    guidance_scale={float(request.guidance_scale)},",
        f'    generator=torch.Generator("cpu").manual_seed({request.seed}),',
        ").images[0]",
    ]
    if chosen.enable is not None:
        call = [f"# Here {chosen.label} has to be enabled, as its package says.", *call]
    elif patches:
        given = ", ".join(map(_written, patches))
        call = [f"with patched(pipe, {given}):", *(f"    {line}" for line in call)]
    lines = [
        *_imports(model, patches),
        "",
        *_loading(model),
        *(["pipe.vae.enable_tiling()"] if request.is_tiled else []),
        "",
        *call,
        f'image.save("{method}.png")',
    ]
    return "\n".join(lines) + "\n"


def _imports(model: ModelInfo, patches: tuple[ToDo | ToMe | Forecast, ...]) -> list[str]:
    classes = sorted({model.pipeline} | ({"AutoencoderKL"} if model.vae else set()))
    lines = ["import torch", f"from diffusers import {', '.join(classes)}"]
    if patches:
        names = sorted(type(patch).__name__ for patch in patches)
        lines += ["", f"from todo_patch import {', '.join(names)}, patched"]
    return lines


def _loading(model: ModelInfo) -> list[str]:
    if Path(model.source).suffix == ".safetensors":
        given = [f"config={_quoted(model.config)}"] if model.config else []
        given += [f"revision={_quoted(model.revision)}"] if model.revision else []
        lines = _spread(
            f"pipe = {model.pipeline}.from_single_file",
            [_quoted(model.source), *given, f"dtype=torch.{model.dtype}"],
        )
        if model.scheduler_changes:
            changes = [f"{name}={value!r}" for name, value in model.scheduler_changes.items()]
            lines += _spread(
                "pipe.scheduler = type(pipe.scheduler).from_config", ["pipe.scheduler.config", *changes]
            )
    else:
        options = [f"dtype=torch.{model.dtype}", "use_safetensors=True"]
        pins = [f"revision={_quoted(model.revision)}"] if model.revision else []
        pins += [f"variant={_quoted(model.variant)}"] if model.variant else []
        lines = []
        if model.vae:
            pin = [f"revision={_quoted(model.vae_revision)}"] if model.vae_revision else []
            lines += _spread("vae = AutoencoderKL.from_pretrained", [_quoted(model.vae), *pin, *options])
            options.append("vae=vae")
        lines += _spread(f"pipe = {model.pipeline}.from_pretrained", [_quoted(model.source), *pins, *options])
    lines.append(f'pipe.to("{model.device}")')
    if model.attention == "xformers":
        lines.append("pipe.enable_xformers_memory_efficient_attention()")
    return lines


def _quoted(text: str) -> str:
    """A Python string literal. JSON's have double quotes, like the rest of the script."""
    return json.dumps(text, ensure_ascii=False)


def _spread(function: str, arguments: list[str]) -> list[str]:
    """A call on one line if it fits, else one line per argument."""
    line = f"{function}({', '.join(arguments)})"
    return [line] if len(line) <= 100 else [f"{function}(", *(f"    {a}," for a in arguments), ")"]


def _written(patch: ToDo | ToMe | Forecast) -> str:
    """The settings as Python: the first field, which is the point, and those that are not the default."""
    given = [
        f"{field.name}={getattr(patch, field.name)!r}"
        for number, field in enumerate(fields(patch))
        if number == 0 or getattr(patch, field.name) != field.default
    ]
    return f"{type(patch).__name__}({', '.join(given)})"
