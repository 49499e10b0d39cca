"""The measured limit: the model with all that a method could remove taken out, so that the clock can say how
much there was to gain. It is what `Plan.ceiling` counts in FLOPs. Its pictures mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from todo_patch.blocks import find_unet, self_attention


def without_keys_and_values(model: Any, levels: int) -> AbstractContextManager[None]:
    """ToDo's limit: self-attention keeps its query and output projections, and nothing in between.

    Args:
        model: a pipeline or a UNet, for the length of a `with` block.
        levels: how many levels, from the finest.
    """
    return replaced_attention(model, levels, lambda site: QueriesOnly())


def without_self_attention(model: Any, levels: int) -> AbstractContextManager[None]:
    """ToMe's limit: self-attention is the identity. The arguments are those of `without_keys_and_values`."""
    return replaced_attention(model, levels, lambda site: Identity())


class QueriesOnly:
    """An attention processor without keys, values and the attention product."""

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        project, dropout = attn.to_out
        return dropout(project(attn.to_q(hidden_states)))


class Identity:
    """An attention processor that does nothing."""

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


@contextmanager
def replaced_attention(model: Any, levels: int, processor_for: Callable[[Any], Any]) -> Iterator[None]:
    """Give the self-attention blocks of the finest `levels` other processors, and theirs back in the end.

    Args:
        model: a pipeline or a UNet.
        levels: how many levels, from the finest.
        processor_for: from a `todo_patch.blocks.SelfAttention` to an attention processor.
    """
    sites = [site for site in self_attention(find_unet(model)) if site.level < levels]
    own = [site.attn.processor for site in sites]
    for site in sites:
        site.attn.set_processor(processor_for(site))
    try:
        yield
    finally:
        for site, processor in zip(sites, own, strict=True):
            site.attn.set_processor(processor)
