"""The drawings of the tab How it works against what the code does."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
import torch
import yaml

from compare.figures import COUNTED, FACTOR, STEPS, read_figures
from compare.models.random_weights import architecture, empty_unet
from page.how_it_works import NOT_HERE, SIDE, as_found, bag, how_it_works_html, kept, merged, squares
from todo_patch import Forecast, ToDo, ToMe, plan
from todo_patch.grid import kept_tokens, offset_order, token_index

PROJECT = Path(__file__).resolve().parents[2]
PAGE = unescape(how_it_works_html(parameters=0))


def path_of(label: str, class_: str) -> str:
    """The path of this class in the drawing whose name has this in it."""
    drawing = re.search(rf'aria-label="[^"]*{label}.*?</svg>', PAGE, re.S).group()
    return re.search(rf'class="{class_}" d="([^"]+)"', drawing).group(1)


@pytest.mark.parametrize(("id", "size"), COUNTED)
def test_the_parts_of_a_step_are_drawn_to_scale(id: str, size: int) -> None:
    shape = architecture(id)
    counted = plan(empty_unet(shape), ToDo(factor=FACTOR), size, size, shape.vae_scale_factor)
    finest = sum(block.flops_before for block in counted.blocks if block.level == 0)
    attention = sum(block.flops_before for block in counted.blocks)
    saved = counted.total_before - counted.total_after
    parts = [saved, finest - saved, attention - finest, counted.total_before - attention]
    row = re.search(rf"<b>{re.escape(shape.name)}</b>, {size} px.*?</li>", PAGE, re.S).group()
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', row)]
    assert widths == pytest.approx([1000 * part / counted.total_before for part in parts], abs=0.2)
    assert f"<b>{counted.speedup:.2f}×</b> of at most {counted.ceiling:.2f}×" in row
    assert f"{finest / counted.total_before:.1%} of a step is self-attention on the finest grid" in row


def test_the_sentence_beside_them_has_their_tokens_and_shares() -> None:
    for id in ("sd15", "sdxl"):
        counted = plan(empty_unet(architecture(id)), ToDo(factor=FACTOR), 1024, 1024)
        finest = [block for block in counted.blocks if block.level == 0]
        assert f"{finest[0].tokens:,} tokens" in PAGE or f"{finest[0].tokens:,}." in PAGE
        assert f"{sum(block.flops_before for block in finest) / counted.total_before:.0%}" in PAGE


def test_the_bar_of_the_model_that_runs_is_marked() -> None:
    work = next(work for work in read_figures().work if work.architecture == "mini")
    assert "this page’s model" not in PAGE
    marked = unescape(how_it_works_html(work.parameters))
    row = re.search(r"<b>mini-sdxl</b>.*?</li>", marked, re.S).group()
    assert "this page’s model" in row
    assert marked.count("this page’s model") == 1


@pytest.mark.parametrize("offset", offset_order(FACTOR))
def test_the_tokens_drawn_as_kept_are_those_that_todo_keeps(offset: tuple[int, int]) -> None:
    index = token_index((SIDE, SIDE), FACTOR, offset, torch.device("cpu"))
    assert [row * SIDE + column for row, column in kept(offset)] == index.tolist()


def test_todo_is_drawn_with_the_first_token_of_each_cell() -> None:
    assert path_of("kept as key and value", "own") == squares(kept((0, 0)), 10, 10, 14, 11.8)


def test_the_grid_goes_round_in_the_order_of_the_library() -> None:
    frames = re.search(r"@keyframes goes-round \{(.*?)\n\}", PAGE, re.S).group(1)
    moves = re.findall(r"translate\((\d+)px, (\d+)px\)", frames)
    assert [(int(y) // 14, int(x) // 14) for x, y in moves] == list(offset_order(FACTOR))
    assert moves[0] == ("0", "0")  # so that the end is the beginning
    assert "@media (prefers-reduced-motion: reduce)" in PAGE


def test_the_steps_drawn_as_forecast_are_those_of_the_library() -> None:
    drawing = re.search(r'aria-label="Of 20 steps.*?</svg>', PAGE, re.S).group()
    boxes = re.findall(r'<rect class="(made|not-made)"', drawing)
    assert [step for step, kind in enumerate(boxes) if kind == "not-made"] == list(Forecast().steps(STEPS))
    assert f"{len(Forecast().steps(STEPS))} of {STEPS} calls" in PAGE


def test_tome_is_drawn_with_as_many_tokens_as_it_would_leave() -> None:
    like = ToMe.like(ToDo(factor=FACTOR))
    left = SIDE**2 - int(SIDE**2 * like.ratio)
    assert left == kept_tokens((SIDE, SIDE), FACTOR) == sum(map(len, bag().values()))
    assert set(bag()) == set(merged())
    assert sum(map(len, merged().values())) == sum(map(len, as_found().values())) == SIDE**2


def test_the_three_lines_are_those_of_the_readme() -> None:
    lines = re.search(r'aria-label="Python"><code>(.*?)</code>', PAGE, re.S).group(1)
    assert len([line for line in lines.splitlines() if line]) == 3
    assert f"```python\n{lines}\n```" in (PROJECT / "README.md").read_text(encoding="utf-8")


def test_it_cites_what_the_citation_file_cites() -> None:
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    entries = re.search(r'aria-label="BibTeX"><code>(.*?)</code>', PAGE, re.S).group(1).split("\n@")
    assert len(entries) == len(cited) == 2
    for entry, reference in zip(entries, cited, strict=True):
        authors = [f"{author['family-names']}, {author['given-names']}" for author in reference["authors"]]
        assert f"{{{' and '.join(authors)}}}" in entry
        assert f"{{{reference['title']}}}" in entry
        assert f"{{{reference['year']}}}" in entry
        assert reference["identifiers"][0]["value"] in entry
        assert f'href="{reference["url"]}"' in PAGE


def test_without_the_figures_the_tab_says_so(tmp_path: Path) -> None:
    assert NOT_HERE in how_it_works_html(0, tmp_path / "figures.json")
