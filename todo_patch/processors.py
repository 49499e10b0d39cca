"""Attention processors under ToDo: which cannot take keys of other tokens, and which need all of them."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap

import torch

from .blocks import SelfAttention

# Those of perturbed attention guidance (PAG).
_PERTURBING_PROCESSORS = {"PAGIdentitySelfAttnProcessor2_0", "PAGCFGIdentitySelfAttnProcessor2_0"}


def require_usable(block: SelfAttention) -> None:
    processor = type(block.attn.processor)
    if processor.__name__.startswith("Fused"):
        raise ValueError(
            f"{block.name} has fused query, key and value projections, and ToDo needs keys and values of "
            "other tokens than the queries. Call unet.unfuse_qkv_projections() first."
        )
    if _tells_prompts_by_keys(processor):
        raise ValueError(
            f"{block.name} uses {processor.__name__}, which takes any keys that it is given for a prompt; "
            "ToDo gives keys to self-attention. Set another attention processor, or remove the patch."
        )


@functools.cache
def _tells_prompts_by_keys(processor: type) -> bool:
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


def is_perturbed(attn: torch.nn.Module) -> bool:
    """Whether perturbed attention guidance works on this attention in the call that begins: each query is
    given its own value, so there has to be one for each. A PAG pipeline sets a processor, a guider a hook."""
    registry = vars(attn).get("_diffusers_hook")
    return type(attn.processor).__name__ in _PERTURBING_PROCESSORS or (
        registry is not None
        and any(getattr(hook, "skip_attention_scores", False) for hook in registry.hooks.values())
    )
