"""Notes: what a reader of the numbers should know, as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from diffusers import DiffusionPipeline

from compare.methods import BASELINE, Method, method_of
from compare.models.load import LoadedPipeline
from compare.report import PlanSummary
from compare.request import OPTIONAL_NUMBERS, Request
from todo_patch import ToDo, ToMe

WORTH_IT = 1.15  # below this FLOP ceiling the gain is of the size of the noise on most machines


def notes_on(loaded: LoadedPipeline, request: Request, plans: Mapping[str, PlanSummary]) -> Iterator[str]:
    """All notes on a request, the most important first."""
    yield from filter(None, (loaded.fallback, loaded.remark))
    yield from _on_prompts(loaded, request)
    yield from _on_guidance(request)
    yield from _on_settings(request)
    yield from _on_tokens(request, plans)
    yield from _on_the_gain(request, plans)
    if BASELINE not in request.chosen:
        yield "Without Baseline there is nothing to compare with: no speed-ups and no scores."
    if request.is_tiled:
        yield (
            f"At {request.width}×{request.height} every picture is decoded in overlapping tiles, which keeps "
            "memory small and can shift colours a little between them; all methods alike."
        )


def on_fewer_steps(request: Request, method: Method, steps: int) -> tuple[str, ...]:
    """A note if a method that is to save steps saves none."""
    if steps < request.steps:
        return ()
    others = " and ".join(method_of(id).label for id in method.needs if id != BASELINE.id)
    why = f"{others} was not faster by a whole step, so " if others else ""
    return (f"{why}{method.label} has as many steps as Baseline.",)


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
    if _first(request, ToMe):
        yield (
            "Without guidance the model runs on one picture at a time, and for odd batches tomesd drops the "
            "random choice of the tokens it merges into."
        )


def _on_settings(request: Request) -> Iterator[str]:
    if request.idle_settings:
        yield f"Settings that change none of the chosen methods: {', '.join(request.idle_settings)}."


def _on_tokens(request: Request, plans: Mapping[str, PlanSummary]) -> Iterator[str]:
    tome, todo = _first(request, ToMe), _first(request, ToDo)
    if not (tome and todo):
        return
    for merged, kept in zip(plans[tome.id].levels, plans[todo.id].levels, strict=True):
        if merged.kv_tokens != kept.kv_tokens:
            grid = "{}×{} grid of tokens".format(*kept.grid)
            why = f"{tome.label} has settings of its own: on the {grid} it"
            if all(getattr(request, name) is None for name in OPTIONAL_NUMBERS):
                why = f"The {grid} cannot be divided evenly: there {tome.label}"
            yield (
                f"{why} keeps {merged.kv_tokens} and {todo.label} {kept.kv_tokens} of {kept.tokens} keys and "
                "values."
            )


def _on_the_gain(request: Request, plans: Mapping[str, PlanSummary]) -> Iterator[str]:
    todo = _first(request, ToDo)
    ceiling = plans[todo.id].ceiling if todo else None
    if ceiling is not None and 1 < ceiling < WORTH_IT:
        yield (
            f"At {request.width}×{request.height} only {1 - 1 / ceiling:.0%} of this model's FLOPs are "
            f"within the reach of {todo.label} at these levels (ceiling {ceiling:.2f}×): expect a small gain."
        )


def _first(request: Request, kind: type[ToDo | ToMe]) -> Method | None:
    """The first of the chosen methods that has a patch of this kind."""
    with_it = (m for m in request.chosen if any(isinstance(patch, kind) for patch in m.patches(request)))
    return next(with_it, None)
