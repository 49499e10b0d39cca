"""The artwork: which emoji are drawn, the words for them, and their pictures.

Source: the npm package ``@iconify-json/fluent-emoji`` 1.2.7, Microsoft's Fluent Emoji, MIT licence.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PACKAGE = "@iconify-json/fluent-emoji@1.2.7"
RENDERED_SIDE = 192  # px; stickers are at most 100 px, so they are always scaled down


@dataclass(frozen=True)
class Thing:
    """One kind of sticker: its icon and the (singular, plural) words it goes by, the usual one first."""

    icon: str
    names: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return self.names[0][0]


@dataclass(frozen=True)
class Background:
    """A plain background: its colour (sRGB, 0 to 255) and the words it goes by, the usual one first."""

    rgb: tuple[int, int, int]
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[0]


def _thing(icon: str, *names: str) -> Thing:
    """``names`` are written singular/plural; a bare word takes an s."""
    pairs = tuple((n.split("/")[0], n.split("/")[1] if "/" in n else n + "s") for n in names)
    return Thing(icon, pairs)


# In the order in which a model learns them: `--things 24` takes the first 24. Clear silhouettes come first.
THINGS = (
    _thing("red-apple", "red apple", "apple"),
    _thing("banana", "banana"),
    _thing("strawberry", "strawberry/strawberries"),
    _thing("watermelon", "watermelon", "slice of watermelon/slices of watermelon"),
    _thing("cat-face", "cat", "kitten", "cat face"),
    _thing("fox", "fox/foxes", "red fox/red foxes"),
    _thing("frog", "frog", "green frog"),
    _thing("panda", "panda", "panda bear"),
    _thing("pig-face", "pig", "piglet"),
    _thing("penguin", "penguin"),
    _thing("turtle", "turtle", "tortoise"),
    _thing("whale", "whale", "blue whale"),
    _thing("lady-beetle", "ladybug", "ladybird"),
    _thing("mushroom", "mushroom", "toadstool"),
    _thing("cactus", "cactus/cacti"),
    _thing("sunflower", "sunflower"),
    _thing("maple-leaf", "maple leaf/maple leaves", "leaf/leaves"),
    _thing("rocket", "rocket", "spaceship"),
    _thing("automobile", "red car", "car"),
    _thing("star", "star", "yellow star"),
    _thing("red-heart", "heart", "red heart"),
    _thing("alien", "alien", "green alien"),
    _thing("jack-o-lantern", "pumpkin", "jack o lantern"),
    _thing("basketball", "basketball", "ball"),
    _thing("dog-face", "dog/dogs", "puppy/puppies"),
    _thing("owl", "owl"),
    _thing("octopus", "octopus/octopuses"),
    _thing("butterfly", "butterfly/butterflies"),
    _thing("tropical-fish", "fish/fish", "tropical fish/tropical fish"),
    _thing("crab", "crab", "red crab"),
    _thing("honeybee", "bee", "honeybee"),
    _thing("snail", "snail"),
    _thing("chicken", "chicken", "hen"),
    _thing("hatching-chick", "chick", "hatching chick"),
    _thing("rabbit-face", "rabbit", "bunny/bunnies"),
    _thing("mouse-face", "mouse/mice"),
    _thing("bear", "bear", "brown bear"),
    _thing("koala", "koala"),
    _thing("lion", "lion"),
    _thing("tiger-face", "tiger"),
    _thing("monkey-face", "monkey"),
    _thing("elephant", "elephant"),
    _thing("unicorn", "unicorn"),
    _thing("dolphin", "dolphin"),
    _thing("lemon", "lemon"),
    _thing("pineapple", "pineapple"),
    _thing("cherries", "cherry/cherries"),
    _thing("avocado", "avocado"),
    _thing("carrot", "carrot"),
    _thing("pizza", "pizza/pizzas", "slice of pizza/slices of pizza"),
    _thing("doughnut", "doughnut", "donut"),
    _thing("hamburger", "hamburger", "burger"),
    _thing("cupcake", "cupcake"),
    _thing("four-leaf-clover", "clover", "four leaf clover"),
    _thing("rose", "rose", "red rose"),
    _thing("tulip", "tulip"),
    _thing("palm-tree", "palm tree", "palm"),
    _thing("evergreen-tree", "fir tree", "christmas tree"),
    _thing("soccer-ball", "soccer ball", "football"),
    _thing("balloon", "balloon", "red balloon"),
    _thing("sailboat", "sailboat", "boat"),
    _thing("house", "house"),
    _thing("umbrella", "umbrella"),
    _thing("crown", "crown", "golden crown"),
    _thing("guitar", "guitar"),
    _thing("ghost", "ghost"),
    _thing("snowman", "snowman/snowmen"),
    _thing("crescent-moon", "moon", "crescent moon"),
    _thing("gem-stone", "diamond", "gem"),
    _thing("robot", "robot"),
    _thing("teddy-bear", "teddy bear", "teddy"),
    _thing("key", "key", "golden key"),
)

BACKGROUNDS = (
    Background((250, 250, 247), ("white",)),
    Background((178, 232, 200), ("mint", "light green", "green")),
    Background((255, 190, 208), ("pink",)),
    Background((160, 210, 255), ("sky blue", "blue", "light blue")),
    Background((255, 226, 122), ("yellow",)),
    Background((203, 188, 255), ("lavender", "purple")),
    Background((255, 176, 112), ("orange", "peach")),
    Background((34, 42, 86), ("navy", "dark blue", "dark")),
)


def fetch_icons(folder: Path) -> Path:
    """The package's ``icons.json``, downloaded into ``folder`` with ``npm pack`` unless it is there."""
    icons = folder / "package" / "icons.json"
    if not icons.exists():
        if shutil.which("npm") is None:
            raise RuntimeError(f"npm is needed to fetch {PACKAGE}; or unpack that package into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True, text=True
        )
        with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as package:
            package.extractall(folder, filter="data")
    return icons


def render(icons: Path, things: tuple[Thing, ...], side: int = RENDERED_SIDE) -> list[Image.Image]:
    """One RGBA picture of ``side`` px a side for each thing."""
    import resvg_py

    collection = json.loads(icons.read_text())
    pictures = []
    for thing in things:
        icon = collection["icons"][thing.icon]
        width = icon.get("width", collection["width"])
        height = icon.get("height", collection["height"])
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{side}" height="{side}">{icon["body"]}</svg>'
        )
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg))
        pictures.append(Image.open(io.BytesIO(png)).convert("RGBA"))
    return pictures
