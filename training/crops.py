"""Renders the training crops and their captions, and the vocabulary of the captions.

``python -m training.crops --things 24 --count 32000`` writes ``crops.npy`` (count × side × side × 3, uint8),
``captions.json`` and ``vocabulary.json``.
"""

from __future__ import annotations

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from training import WORK
from training.artwork import BACKGROUNDS, THINGS, fetch_icons, render
from training.prompts import EXAMPLES
from training.scenes import caption, choose_things, draw_stickers, with_unknown_words

CHUNK = 1000
HELD_OUT = 64  # the first crops are never trained on


def _draw_chunk(
    pictures: list[Image.Image], side: int, seed: int, count: int
) -> tuple[np.ndarray, list[str]]:
    rng = random.Random(seed)
    crops = np.empty((count, side, side, 3), np.uint8)
    captions = []
    for i in range(count):
        chosen = choose_things(rng, len(pictures))
        background = rng.choice(BACKGROUNDS)
        crops[i] = np.asarray(draw_stickers(rng, [pictures[c] for c in chosen], background, side, side)[0])
        captions.append(with_unknown_words(rng, caption(rng, [THINGS[c] for c in chosen], background)))
    return crops, captions


def render_crops(things: int, count: int, side: int, seed: int, folder: Path) -> None:
    """Writes ``count`` crops of ``side`` px with captions; the same seed gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = render(fetch_icons(WORK / "artwork"), THINGS[:things])
    crops = np.lib.format.open_memmap(
        folder / "crops.npy", mode="w+", dtype=np.uint8, shape=(count, side, side, 3)
    )
    captions: list[str] = []
    starts = range(0, count, CHUNK)
    seeds = [seed + start for start in starts]
    sizes = [min(CHUNK, count - start) for start in starts]
    with ProcessPoolExecutor() as pool:
        parts = pool.map(partial(_draw_chunk, pictures, side), seeds, sizes)
        for start, (part, words) in zip(starts, parts, strict=True):
            crops[start : start + len(part)] = part
            captions += words
    crops.flush()
    (folder / "captions.json").write_text(json.dumps(captions, indent=0))
    write_vocabulary(things, folder / "vocabulary.json")


def write_vocabulary(things: int, path: Path) -> None:
    """What the model can draw, for the page: names, every word of a caption, examples."""
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
                "words": sorted(words | {"and"}),
                "names": names,
                "examples": EXAMPLES,
            },
            indent=1,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--things", type=int, default=24, help="kinds of sticker: the first ones of artwork.py"
    )
    parser.add_argument("--count", type=int, default=32000)
    parser.add_argument("--side", type=int, default=128, help="crop side in px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WORK / "data")
    args = parser.parse_args()
    render_crops(args.things, args.count, args.side, args.seed, args.out)


if __name__ == "__main__":
    main()
