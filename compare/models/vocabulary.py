"""What a model that was trained on few things can draw, and which of them a prompt asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vocabulary:
    """What a model trained on few things has seen. Kept in `vocabulary.json` beside the pipeline."""

    objects: tuple[str, ...]
    """By their usual names."""
    backgrounds: tuple[str, ...]
    """By their usual names."""
    words: tuple[str, ...]
    """Every word of a caption."""
    names: Mapping[str, str]
    """From every phrase that stands for an object or a background to its usual name."""
    examples: tuple[str, ...] = ()
    """Prompts that work."""

    @classmethod
    def load(cls, file: Path) -> Vocabulary:
        """Raises ValueError, KeyError or TypeError if it is not such a file."""
        seen = json.loads(file.read_text(encoding="utf-8"))
        parts = {part: tuple(seen[part]) for part in ("objects", "backgrounds", "words", "examples")}
        return cls(names=dict(seen["names"]), **parts)

    def asked(self, prompt: str) -> tuple[str, ...]:
        """The objects and backgrounds that a prompt names, by their usual names, in the prompt's order.

        Of overlapping phrases the longest counts: "a green frog" asks for a frog, and not for green.
        """
        phrases = sorted(self.names, key=len, reverse=True)
        found = re.findall(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b", prompt.lower()) if phrases else ()
        return tuple(dict.fromkeys(self.names[phrase] for phrase in found))
