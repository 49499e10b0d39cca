"""Trains the classifier that scores pictures, `compare/study/classifier.py`.

``python -m training.classifier --things 60`` trains it on rendered sheets, writes its weights beside the
model and prints how well it reads held-out sheets; ``--check`` only prints that. It never sees a picture of
the diffusion model, so it cannot learn that model's faults.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from compare.models.source import BUNDLED, CLASSIFIER
from compare.study.classifier import Classifier, load_classifier
from training.artwork import BACKGROUNDS, THINGS
from training.labelled import SEEN, UNSEEN, Sheet, crowded, draw_sheets, to_pixels, unknown_things
from training.vae import start_accelerator

WEIGHTS = BUNDLED / CLASSIFIER
SIDES = (128, 160, 192, 256)  # px, of the windows it is trained on
SCENES = {128: 400, 256: 200, 512: 100}  # held out, by side in px
UNKNOWN_SCENES = 100
HELD_OUT_SEED = 1_000_000


def _cut_windows(
    rng: random.Random, sheets: Sequence[Sheet], things: int, side: int, count: int
) -> tuple[np.ndarray, Tensor, Tensor]:
    """Windows (n, side, side, 3), how much of each thing is visible (n, things), backgrounds (n,)."""
    pixels, visible, backgrounds = [], [], []
    for sheet in rng.choices(sheets, k=count):
        left, top = (rng.randrange(extent - side + 1) for extent in sheet.window[2:])
        pixels.append(sheet.pixels[top : top + side, left : left + side])
        visible.append(sheet.visible(things, (left, top, left + side, top + side)))
        backgrounds.append(sheet.background)
    return np.stack(pixels), torch.from_numpy(np.stack(visible)), torch.tensor(backgrounds)


def _worsen(rng: random.Random, pixels: Tensor) -> Tensor:
    """Random faults that generated pictures may have and rendered ones have not: another scale, soft edges,
    other brightness and contrast, blotches and noise."""
    n, _, side, _ = pixels.shape
    scaled = round(side * rng.uniform(0.88, 1.12))
    soft = round(scaled / rng.choice((1, 1, rng.uniform(1, 4))))
    for target in (soft, scaled):
        if target != pixels.shape[-1]:
            pixels = F.interpolate(pixels, (target, target), mode="bilinear", antialias=True)
    contrast, brightness = (torch.empty(n, 1, 1, 1, device=pixels.device) for _ in range(2))
    pixels = pixels * contrast.uniform_(0.85, 1.1) + brightness.uniform_(-0.08, 0.08)
    blotches = F.interpolate(torch.randn_like(pixels[:, :, ::16, ::16]), pixels.shape[2:], mode="bilinear")
    strength = torch.empty(n, 1, 1, 1, device=pixels.device).uniform_(0, 0.06)
    return pixels + strength * (blotches + torch.randn_like(pixels))


def train_classifier(
    classifier: Classifier,
    sheets: Sequence[Sheet],
    windows: int,
    batch: int,
    learning_rate: float,
    seed: int,
    accelerator: Accelerator,
) -> None:
    """Trains in place on ``windows`` random windows. ``batch`` is for 128 px; larger windows are fewer."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    device = accelerator.device
    classifier.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, weight_decay=0.02)
    steps = windows // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.15)
    started = time.monotonic()
    for step in range(steps):
        side = rng.choice(SIDES)
        count = max(1, batch * SIDES[0] ** 2 // side**2)
        pixels, visible, backgrounds = _cut_windows(rng, sheets, len(classifier.objects), side, count)
        visible, backgrounds = visible.to(device), backgrounds.to(device)
        with accelerator.autocast():
            objects, background = classifier(_worsen(rng, to_pixels(pixels, device)))
        certain = (visible >= SEEN) | (visible <= UNSEEN)
        right = (visible >= SEEN).float()
        loss = F.binary_cross_entropy_with_logits(objects.float(), right, certain.float(), reduction="sum")
        loss = loss / count + F.cross_entropy(background.float(), backgrounds)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(
                f"classifier {step * batch}/{windows} windows, loss {loss.item():.3f}, "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    classifier.eval()


@dataclass(frozen=True)
class Accuracy:
    """How a classifier reads labelled sheets."""

    sheets: int
    all_right: int
    """Sheets read without an error, the background included."""
    background_right: int
    missed: dict[str, tuple[int, int]]
    """By thing: sheets on which it was missed, and all sheets that show it."""
    imagined: dict[str, tuple[int, int]]
    """By thing: sheets on which it was seen, and all sheets that do not show it."""


def check_classifier(classifier: Classifier, sheets: Sequence[Sheet]) -> Accuracy:
    """Read whole sheets, one by one."""
    seen, visible, background_right = [], [], []
    for sheet in sheets:
        reading = classifier.read(Image.fromarray(sheet.pixels))
        seen.append([name in reading.seen for name in classifier.objects])
        visible.append(sheet.visible(len(classifier.objects), sheet.window))
        background_right.append(reading.background == BACKGROUNDS[sheet.background].name)
    seen, there, absent = np.array(seen), np.array(visible) >= SEEN, np.array(visible) <= UNSEEN
    missed, imagined = there & ~seen, absent & seen
    all_right = ~(missed | imagined).any(1) & np.array(background_right)

    def by_thing(wrong: np.ndarray, of: np.ndarray) -> dict[str, tuple[int, int]]:
        counts = zip(wrong.sum(0).tolist(), of.sum(0).tolist(), strict=True)
        return dict(zip(classifier.objects, counts, strict=True))

    return Accuracy(
        sheets=len(sheets),
        all_right=int(all_right.sum()),
        background_right=sum(background_right),
        missed=by_thing(missed, there),
        imagined=by_thing(imagined, absent),
    )


def _print_accuracy(by_side: dict[int, Accuracy]) -> None:
    print("| side | sheets | all right | background right |\n|---|---|---|---|")
    for side, accuracy in by_side.items():
        all_right, background = (n / accuracy.sheets for n in (accuracy.all_right, accuracy.background_right))
        print(f"| {side} px | {accuracy.sheets} | {all_right:.1%} | {background:.1%} |")
    titles = [f"{what}, {side} px" for side in by_side for what in ("missed", "imagined")]
    print(f"\n| thing | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}")
    for name in next(iter(by_side.values())).missed:
        counts = [
            c for accuracy in by_side.values() for c in (accuracy.missed[name], accuracy.imagined[name])
        ]
        print(f"| {name} | {' | '.join(f'{wrong} of {of}' for wrong, of in counts)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=24, help="the first ones of artwork.py")
    parser.add_argument("--sheets", type=int, default=300, help="rendered sheets of 512 px to train on")
    parser.add_argument("--windows", type=int, default=50_000, help="in all, counted as 128 px each")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="train nothing, read held-out sheets")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()

    if not args.check:
        objects = [thing.name for thing in THINGS[: args.things]]
        classifier = Classifier(objects, [background.name for background in BACKGROUNDS])
        sheets = draw_sheets(args.things, args.sheets, 512, args.seed, crowded)
        options = (args.windows, args.batch, args.learning_rate, args.seed)
        train_classifier(classifier, sheets, *options, start_accelerator())
        classifier.save(args.out)
    classifier = load_classifier(args.out)  # as rounded to float16
    things = len(classifier.objects)
    by_side = {
        side: check_classifier(classifier, draw_sheets(things, count, side, HELD_OUT_SEED + side))
        for side, count in SCENES.items()
    }
    _print_accuracy(by_side)
    sheets = draw_sheets(things, UNKNOWN_SCENES, 256, HELD_OUT_SEED, unknown_things)
    fooled = sum(bool(classifier.read(Image.fromarray(sheet.pixels)).seen) for sheet in sheets)
    print(f"\nSheets of unknown things on which some known thing was seen: {fooled} of {UNKNOWN_SCENES}")


if __name__ == "__main__":
    main()
