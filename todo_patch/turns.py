"""One method after another in a run: `ToDo(until=0.5, then=ToMe())`.

Only the one whose turn it is is on the denoiser. It is exchanged where a call begins; compiled code sees that
as it sees any patch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .methods import ToDo, ToMe, in_turn
from .run import Run
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
        for other in self._methods[1:]:
            put_on(other).remove()  # what is refused is refused now
        self._method, self._part = method, put_on(method)

    def before_call(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and getattr(denoiser, "is_gradient_checkpointing", False):
            raise RuntimeError(
                "A method with `then` cannot be trained with gradient checkpointing: another one may be on "
                "when a block is recomputed. Use one method, or disable gradient checkpointing."
            )
        due = next((m for m in self._methods if self._run.within(m.until)), self._methods[-1])
        if due != self._method:
            self._part.remove()
            self._method, self._part = due, self._put_on(due)
        self._part.before_call(denoiser, arguments)

    def remove(self) -> None:
        self._part.remove()
