"""Classes for patched modules.

`torch.compile` does not look at a module's hooks again once it has compiled it, or another module of the same
shape. It does look at the type.
"""

from __future__ import annotations

import copy
import functools
from contextlib import suppress

from diffusers.hooks._helpers import TransformerBlockRegistry


@functools.cache
def marked(original: type, by: type) -> type:
    """A subclass that changes nothing but the type. One for each class and patch: compiled code is then found
    again, and by no other patch."""
    attributes = {"__module__": original.__module__, "__doc__": original.__doc__}
    return known_as(original, type(original.__name__, (original,), attributes))


def known_as(original: type, subclass: type) -> type:
    """The subclass, which those who look for the original find: by the name of a class (as
    `compile_repeated_blocks` does), or by the class itself (diffusers' hooks for SkipLayerGuidance and
    AutoGuidance)."""
    subclass.__name__, subclass.__qualname__ = original.__name__, original.__qualname__
    with suppress(ValueError):  # not a transformer block that diffusers knows
        TransformerBlockRegistry.register(subclass, copy.copy(TransformerBlockRegistry.get(original)))
    return subclass
