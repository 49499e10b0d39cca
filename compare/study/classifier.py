"""A classifier that says which objects and which background a picture of the bundled model shows.

`training/classifier.py` trains it, on rendered pictures only. Its weights lie beside the model's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

LIKELY = 0.6  # at 0.5 some aliens are taken for frogs as well, at 0.8 things cut by an edge are overlooked
LOUDEST = 4  # positions that speak for a thing: one sticker covers more than that, many stickers need no more


@dataclass(frozen=True)
class Reading:
    """What the classifier sees in one picture."""

    objects: dict[str, float]
    """The probability, 0 to 1, that the thing of this name is in the picture."""
    background: str

    @property
    def seen(self) -> tuple[str, ...]:
        """The things that are likely to be there."""
        return tuple(name for name, probability in self.objects.items() if probability > LIKELY)


class Residual(nn.Module):
    """Two 3×3 convolutions and what went into them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(channels, channels), *_convolution(channels, channels)[:-1]
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.convolutions(features))


def _convolution(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> list[nn.Module]:
    padding = (side - stride + 1) // 2
    convolution = nn.Conv2d(inputs, outputs, side, stride, padding, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


class Classifier(nn.Module):
    """Convolutions down to one position per 16 px, each of which sees about one sticker. For any size."""

    def __init__(self, objects: Sequence[str], backgrounds: Sequence[str]) -> None:
        super().__init__()
        self.objects, self.backgrounds = tuple(objects), tuple(backgrounds)
        self.features = nn.Sequential(
            *_convolution(3, 32, side=8, stride=4),
            *_convolution(32, 64, stride=2),
            Residual(64),
            *_convolution(64, 128, stride=2),
            Residual(128),
        )
        self.to_objects = nn.Conv2d(128, len(objects), 1)
        self.to_background = nn.Conv2d(128, len(backgrounds), 1)
        nn.init.constant_(self.to_objects.bias, -3.0)  # most things are not in most pictures

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) in [-1, 1] → logits (n, objects), to be read one by one, and (n, backgrounds)."""
        features = self.features(pixels)
        # The mean over a large picture would drown a thing that is there once.
        # The maximum would trust a single position.
        loudest = self.to_objects(features).flatten(2).topk(LOUDEST).values.mean(-1)
        return loudest, self.to_background(features).mean((2, 3))

    @torch.no_grad()
    def read(self, picture: Image.Image) -> Reading:
        """Any RGB picture of at least 64 px a side."""
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).to(self.to_objects.weight.device)
        objects, background = self(pixels.permute(2, 0, 1)[None] / 127.5 - 1)
        probabilities = objects[0].float().sigmoid().tolist()
        return Reading(
            dict(zip(self.objects, probabilities, strict=True)),
            self.backgrounds[background[0].argmax().item()],
        )

    def save(self, path: Path) -> None:
        """Weights in float16, and the names of the labels."""
        names = {"objects": json.dumps(self.objects), "backgrounds": json.dumps(self.backgrounds)}
        state = {name: t.half() if t.is_floating_point() else t for name, t in self.state_dict().items()}
        save_file({name: t.contiguous().cpu() for name, t in state.items()}, path, metadata=names)


def load_classifier(path: Path) -> Classifier:
    """In float32, on the CPU, ready to read."""
    with safe_open(path, framework="pt") as file:
        names = file.metadata()
        classifier = Classifier(json.loads(names["objects"]), json.loads(names["backgrounds"]))
        classifier.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return classifier.eval()
