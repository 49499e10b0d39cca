"""What a model can draw, for the page."""

from __future__ import annotations

import json
import random
from pathlib import Path

from training.artwork import BACKGROUNDS, THINGS
from training.prompts import EXAMPLES
from training.scenes import LARGE_WORDS, caption


def write_vocabulary(things: int, path: Path) -> None:
    """Names, every word of a caption, examples."""
    rng = random.Random(0)
    words = {
        word
        for _ in range(300)
        for thing in THINGS[:things]
        for word in caption(rng, [thing], rng.choice(BACKGROUNDS)).replace(",", " ").split()
    }
    names = {phrase: thing.name for thing in THINGS[:things] for pair in thing.names for phrase in pair}
    names |= {phrase: background.name for background in BACKGROUNDS for phrase in background.names}
    path.write_text(
        json.dumps(
            {
                "objects": [thing.name for thing in THINGS[:things]],
                "backgrounds": [background.name for background in BACKGROUNDS],
                "words": sorted(words | {"and", *LARGE_WORDS}),
                "names": names,
                "examples": EXAMPLES,
            },
            indent=1,
        )
    )
