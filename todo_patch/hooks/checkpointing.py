"""Gradient checkpointing: what a block used in its forward, its recomputation in the backward pass uses too.

A recomputation calls single transformer blocks, long after the call that they belong to, and with the
very tensors of that call. So what a block used is kept by its input, for as long as that tensor lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from ..blocks import SelfAttention


class Recall:
    """Hooks on the transformer blocks of a denoiser, from its first call with gradient checkpointing on.

    Args:
        save: from a transformer block to what it is about to use.
        restore: gives a transformer block what `save` returned.
    """

    def __init__(
        self,
        blocks: tuple[SelfAttention, ...],
        save: Callable[[torch.nn.Module], Any],
        restore: Callable[[torch.nn.Module, Any], None],
    ) -> None:
        self._blocks = list(dict.fromkeys(site.block for site in blocks))  # some have two
        self._save, self._restore = save, restore
        self._handles: list[Any] = []

    def before_call(self, denoiser: torch.nn.Module) -> None:
        """See whether the call that begins is checkpointed."""
        checkpointed = torch.is_grad_enabled() and bool(getattr(denoiser, "is_gradient_checkpointing", False))
        if checkpointed and not self._handles:
            for block in self._blocks:
                block._todo_used = _Used(self._save, self._restore)
                self._handles += [
                    block.register_forward_pre_hook(_before_block, prepend=True, with_kwargs=True),
                    block.register_forward_hook(_after_block, always_call=True),
                ]
        if self._handles:
            for block in self._blocks:
                block._todo_used.checkpointed = checkpointed

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        for block in self._blocks:
            vars(block).pop("_todo_used", None)


@dataclass(eq=False)
class _Used:
    """What one block used, by its input."""

    save: Callable[[torch.nn.Module], Any]
    restore: Callable[[torch.nn.Module, Any], None]
    checkpointed: bool = False
    by_input: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    interrupted: list[Any] = field(default_factory=list)  # what a recomputation has to give back

    def __deepcopy__(self, memo: dict[int, Any]) -> _Used:
        return _Used(self.save, self.restore)


@torch.compiler.disable
def _before_block(block: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    used = block._todo_used
    tokens = args[0] if args else kwargs["hidden_states"]
    if tokens in used.by_input:  # a recomputation
        used.interrupted.append(used.save(block))
        used.restore(block, used.by_input[tokens])
    elif torch.is_grad_enabled():
        used.by_input[tokens] = used.save(block)
    elif used.checkpointed:
        raise RuntimeError(
            "A patched model cannot be trained with reentrant gradient checkpointing: enable it with "
            "use_reentrant=False, which is diffusers' default."
        )


@torch.compiler.disable
def _after_block(block: torch.nn.Module, *_: Any) -> None:
    used = block._todo_used
    if used.interrupted:
        used.restore(block, used.interrupted.pop())


# A graph of the whole UNet holds its checkpoints, and recomputes from its own inputs.
for _hook in (_before_block, _after_block):
    torch.compiler.substitute_in_graph(_hook, skip_signature_check=True)(lambda *_: None)
