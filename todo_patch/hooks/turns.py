"""One method after another in a run: `ToDo(until=0.5, then=ToMe())`.

Only the one whose turn it is is on the denoiser. It is exchanged where a call begins; compiled code sees that
as it sees any patch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..methods import ToDo, ToMe, in_turn
from ..run import Run
from .todo import ToDoPatch
from .tome import ToMePatch


class InTurn:
    """The methods of one run, one at a time. `remove` leaves no trace of them.

    Args:
        put_on: from a method to that method on the denoiser.
    """

    def __init__(
        self, method: ToDo | ToMe, put_on: Callable[[ToDo | ToMe], ToDoPatch | ToMePatch], run: Run
    ) -> None:
        self._methods = in_turn(method)
        self._put_on = put_on
        self._run = run
        self._on: ToDo | ToMe | None = None
        self._part: Any = None  # of the method that is on
        for turn in reversed(self._methods):  # what is refused is refused now
            self._exchange(turn)

    def before_call(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and getattr(denoiser, "is_gradient_checkpointing", False):
            raise RuntimeError(
                "A method with `then` cannot be trained with gradient checkpointing: it may be the turn of "
                "another when a block is recomputed. Use one method, or disable gradient checkpointing."
            )
        turn = next((m for m in self._methods if self._run.within(m.until)), self._methods[-1])
        part = self._part if turn == self._on and self._part is not None else self._exchange(turn)
        part.before_call(denoiser, arguments)

    def _exchange(self, turn: ToDo | ToMe) -> ToDoPatch | ToMePatch:
        self.remove()
        self._part = part = self._put_on(turn)
        self._on = turn
        return part

    def remove(self) -> None:
        part, self._part, self._on = self._part, None, None
        if part is not None:
            part.remove()
