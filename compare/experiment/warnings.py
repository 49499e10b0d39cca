"""What a reader of the numbers should know: sentences on a request, from its model and its plans."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from diffusers import DiffusionPipeline

from compare.experiment.decoding import is_tiled
from compare.models.load import LoadedPipeline
from compare.report import PlanSummary
from compare.request import Request

MEASURABLE = 0.05  # seconds; shorter steps are uneven on any machine
UNEVEN = 2
WORTH_IT = 1.15  # below this FLOP ceiling the gain is of the size of the noise on most machines


def notes_on(loaded: LoadedPipeline, request: Request, plans: Mapping[str, PlanSummary]) -> tuple[str, ...]:
    """All notes there are on a request, the most important first."""
    return (
        *_on_the_model(loaded),
        *_on_prompts(loaded, request),
        *_on_guidance(request),
        *_on_tokens(plans),
        *_on_the_gain(request, plans),
        *_on_methods(request),
        *_on_decoding(request),
    )


def note_on_times(same_work: Iterable[Sequence[float]]) -> tuple[str, ...]:
    """Whether the times can be trusted: a note where steps that do the same work did not take the same time.

    Args:
        same_work: seconds of single steps, grouped by what they do.
    """
    worst = max(same_work, key=lambda seconds: max(seconds) / min(seconds))
    if min(worst) < MEASURABLE or max(worst) < UNEVEN * min(worst):
        return ()
    return (
        f"Steps of the same work took from {min(worst):.2f} to {max(worst):.2f} seconds: something else was "
        "using this machine, and the times cannot be compared. Run it again, or more often.",
    )


def _on_the_model(loaded: LoadedPipeline) -> Iterator[str]:
    if loaded.fallback:
        yield loaded.fallback
    if loaded.remark:
        yield loaded.remark


def _on_prompts(loaded: LoadedPipeline, request: Request) -> Iterator[str]:
    if loaded.vocabulary:
        known = set(_words(" ".join(loaded.vocabulary.words)))
        words = _words(f"{request.prompt} {request.negative_prompt}")
        unseen = [word for word in dict.fromkeys(words) if word not in known]
        if unseen:
            shown = ", ".join(f"“{word}”" for word in unseen[:8]) + (", …" if unseen[8:] else "")
            yield f"This model has never seen {shown}: it draws only what is in its small vocabulary."
    for name, prompt in (("prompt", request.prompt), ("negative prompt", request.negative_prompt)):
        cut = _cut_off(loaded.pipe, prompt)
        if cut:
            yield f"The {name} is too long for the text encoder, which does not see its end: “{cut}”."


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _cut_off(pipe: DiffusionPipeline, prompt: str) -> str:
    """The part of the prompt that does not fit into the text encoder, shortened."""
    room = pipe.tokenizer.model_max_length
    tokens = pipe.tokenizer(prompt).input_ids
    if len(tokens) <= room:
        return ""
    rest = pipe.tokenizer.decode(tokens[room - 1 : -1])  # the last place is taken by the end-of-text token
    return rest if len(rest) <= 60 else "…" + rest[-60:]


def _on_guidance(request: Request) -> Iterator[str]:
    if request.guidance_scale > 1:
        return
    if request.negative_prompt:
        yield "Guidance is off at a scale of 1 and below, so the negative prompt has no effect."
    if "tome" in request.methods:
        yield (
            "Without guidance the model runs on one picture at a time, and for odd batches tomesd drops the "
            "random choice of the tokens it merges into."
        )


def _on_tokens(plans: Mapping[str, PlanSummary]) -> Iterator[str]:
    if not {"tome", "todo"} <= plans.keys():
        return
    for tome, todo in zip(plans["tome"].levels, plans["todo"].levels, strict=True):
        if tome.kv_tokens != todo.kv_tokens:
            rows, columns = todo.grid
            yield (
                f"The {rows}×{columns} grid of tokens cannot be divided evenly: there ToMe keeps "
                f"{tome.kv_tokens} and ToDo {todo.kv_tokens} of {todo.tokens} keys and values."
            )


def _on_the_gain(request: Request, plans: Mapping[str, PlanSummary]) -> Iterator[str]:
    ceiling = plans["todo"].ceiling if "todo" in plans else None
    if ceiling is not None and 1 < ceiling < WORTH_IT:
        yield (
            f"At {request.width}×{request.height} only {1 - 1 / ceiling:.0%} of this model's FLOPs are "
            f"within ToDo's reach at these levels (ceiling {ceiling:.2f}×): expect a small gain."
        )


def _on_methods(request: Request) -> Iterator[str]:
    if "baseline" not in request.methods:
        yield "Without Baseline there is nothing to compare with: no speed-ups and no scores."


def _on_decoding(request: Request) -> Iterator[str]:
    if is_tiled(request):
        yield (
            f"At {request.width}×{request.height} every picture is decoded in overlapping tiles, which keeps "
            "memory small and can shift colours a little between them; all methods alike."
        )
