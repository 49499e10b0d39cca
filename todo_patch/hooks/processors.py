"""Attention processors: which cannot take keys of other tokens, and which need all tokens."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from typing import Any

import torch

from ..blocks import SelfAttention

# Perturbed attention guidance (PAG): each query is given its own value.
_PERTURBING = {
    "PAGIdentitySelfAttnProcessor2_0",
    "PAGCFGIdentitySelfAttnProcessor2_0",
    "PAGJointAttnProcessor2_0",
    "PAGCFGJointAttnProcessor2_0",
}
# Self-attention guidance (SAG): the pipeline reads how much attention each token gets.
_STORING = {"CrossAttnStoreProcessor"}


def require_usable(block: SelfAttention) -> None:
    processor = block.attn.processor.__class__
    if processor.__name__.startswith("Fused"):
        raise ValueError(
            f"{block.name} has fused query, key and value projections, and merge='keys-values' needs keys "
            "and values of other tokens than the queries. Call unfuse_qkv_projections() of the model first, "
            "or use merge='all'."
        )
    if _tells_prompts_by_keys(processor):
        raise ValueError(
            f"{block.name} uses {processor.__name__}, which takes any keys that it is given for a prompt; "
            "merge='keys-values' gives keys to self-attention. Set another attention processor, use "
            "merge='all', or remove the patch."
        )


@functools.cache
def _tells_prompts_by_keys(processor: type[Any]) -> bool:
    """Whether a processor keeps "there are `encoder_hidden_states`" as its sign of cross-attention, as those
    of Attend-and-Excite, Prompt-to-Prompt and Text2Video-Zero do. Only to branch on it is what all do."""
    call = processor.forward if issubclass(processor, torch.nn.Module) else processor.__call__
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(call)))
    except (OSError, TypeError, SyntaxError):  # its source is not there
        return False
    tests = (node.test for node in ast.walk(tree) if isinstance(node, (ast.If, ast.IfExp)))
    branched_on = {id(node) for test in tests for node in ast.walk(test)}
    return any(
        ast.unparse(node) in ("encoder_hidden_states is not None", "encoder_hidden_states is None")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and id(node) not in branched_on
    )


def needs_all_tokens(attn: torch.nn.Module) -> bool:
    """Whether a guidance method works on this attention in the call that begins, and needs a key and a
    value for each query. Such a block is left alone in that call."""
    registry = vars(attn).get("_diffusers_hook")  # a guider's hook; a pipeline sets a processor
    return (
        type(attn.processor).__name__ in _PERTURBING
        or stores_its_map(attn)
        or (
            registry is not None
            and any(getattr(hook, "skip_attention_scores", False) for hook in registry.hooks.values())
        )
    )


def stores_its_map(attn: torch.nn.Module) -> bool:
    """Whether a pipeline reads the attention of this module, if it is one, as a map of the image."""
    return type(getattr(attn, "processor", None)).__name__ in _STORING
