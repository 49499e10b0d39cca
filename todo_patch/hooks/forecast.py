"""Forecast's surgery: a hook of diffusers' registry that answers a call of the denoiser in its place."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from diffusers.hooks import HookRegistry, ModelHook

from ..blocks import latent_of
from ..methods import Forecast
from ..run import Run
from .processors import stores_its_map

NAME = "todo_patch.forecast"


class ForecastPatch:
    """Forecasts on one denoiser. `remove` leaves no trace of it."""

    def __init__(self, denoiser: torch.nn.Module, method: Forecast, run: Run) -> None:
        self.method = method
        self.run = run
        self._denoiser = denoiser
        self._outputs: dict[int, dict[int, torch.Tensor]] = {}  # by branch and step, two of each branch
        self._answer = Answer()
        self._before = {
            name: vars(denoiser)[name] for name in ("_diffusers_hook", "forward") if name in vars(denoiser)
        }
        HookRegistry.check_if_exists_or_initialize(denoiser).register_hook(self._answer, NAME)
        self._forward = denoiser.forward

    def __deepcopy__(self, memo: dict[int, Any]) -> ForecastPatch:
        raise RuntimeError(
            "A model with a Forecast on it cannot be copied: diffusers' hooks in the copy would call the "
            "original. Copy it first, or remove the patch."
        )

    def before_call(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        """Decide whether the call that begins is made, or answered by a forecast."""
        self._answer.sample = None
        step, forecasts = self.run.step, self.run.forecasts
        if step == self.run.call == 0:
            self._outputs.clear()
            if not forecasts:
                self._say(f"none of the {self.run.total} steps of this run is forecast")
            else:
                self._require_usable(denoiser, arguments)
        if step not in forecasts:
            return
        sample = latent_of(arguments)
        fitting = [
            (at, output)
            for at, output in self._outputs.get(self.run.call, {}).items()
            if (len(output), output.shape[-2:]) == (len(sample), sample.shape[-2:])
        ]
        if len(fitting) < 2:
            self._say(f"step {step + 1} is computed: the steps before it had other shapes or branches")
            return
        (first, earlier), (last, later) = fitting
        self._answer.sample = torch.lerp(earlier, later, (step - first) / (last - first))

    def after_call(self, output: Any) -> None:
        """Keep the output of a call that was made, if a forecast may need it."""
        step, forecasts = self.run.step, self.run.forecasts
        if self._answer.sample is not None or not forecasts or not forecasts[0] - 2 <= step < forecasts[-1]:
            return
        self._answer.kind = type(output)
        outputs = self._outputs.setdefault(self.run.call, {})
        # A copy, because samplers may write into what they get, and CUDA graphs into what they gave.
        outputs[step] = output[0].detach().clone()
        while len(outputs) > 2:
            del outputs[min(outputs)]

    def remove(self) -> None:
        denoiser = self._denoiser
        outermost = denoiser.forward
        denoiser._diffusers_hook.remove_hook(NAME, recurse=False)
        if (
            getattr(denoiser, "_old_forward", None) is self._forward
        ):  # accelerate's hook has come on top of ours
            denoiser._old_forward, denoiser.forward = self._answer.fn_ref.original_forward, outermost
        elif "forward" not in self._before and not denoiser._diffusers_hook.hooks:
            del denoiser.forward
        if "_diffusers_hook" not in self._before and not denoiser._diffusers_hook.hooks:
            del denoiser._diffusers_hook

    def _require_usable(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        if _has_gradient(denoiser, arguments):
            raise RuntimeError(
                f"{self.method} is for making pictures: a forecast has no gradient. Take it off for "
                "training, or call the model under torch.no_grad()."
            )
        if any(stores_its_map(module) for module in denoiser.modules()):
            raise RuntimeError(
                f"{self.method} leaves out calls, and this pipeline (self-attention guidance) reads the "
                "attention of every one. Use one of the two."
            )

    def _say(self, what: str) -> None:
        warnings.warn(f"{self.method}: {what}.", stacklevel=2)


def _has_gradient(denoiser: torch.nn.Module, arguments: dict[str, Any]) -> bool:
    """Whether the output of a call could be trained through."""
    return torch.is_grad_enabled() and (
        latent_of(arguments).requires_grad or any(weight.requires_grad for weight in denoiser.parameters())
    )


class Answer(ModelHook):
    """The output of the call in progress, if it is not to be made. Read inside compiled code: torch makes one
    graph for calls that are made, and one for those that are not."""

    sample: torch.Tensor | None = None
    kind: type = tuple

    def new_forward(self, denoiser: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.sample is None:
            return self.fn_ref.original_forward(*args, **kwargs)
        return (self.sample,) if self.kind is tuple else self.kind(sample=self.sample)
