"""One picture with all results side by side."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import asdict

from PIL import Image, ImageDraw, ImageFont

from compare.methods import method_of
from compare.report import Comparison, Result
from compare.words import in_words

COLUMN = (352, 512)  # pixels a picture is wide on the sheet, at least and at most
MARGIN = 16
PAPER, INK, PALE = "#ffffff", "#111111", "#666666"


def contact_sheet(comparison: Comparison) -> Image.Image:
    """All pictures in a row: settings on top; method, seconds, speed-up and scores below each."""
    request = comparison.request
    column = min(max(request.width, COLUMN[0]), COLUMN[1])
    picture_height = round(column * request.height / request.width)
    large, small = (ImageFont.load_default(size=size) for size in (20, 14))
    top, bottom = 2 * MARGIN + 44, 3 * 22 + 2 * MARGIN

    width = MARGIN + len(comparison.results) * (column + MARGIN)
    sheet = Image.new("RGB", (width, top + picture_height + bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), _fitted(draw, request.prompt, large, width - 2 * MARGIN), INK, large)
    draw.text(
        (MARGIN, MARGIN + 28), _fitted(draw, settings_of(comparison), small, width - 2 * MARGIN), PALE, small
    )
    for number, result in enumerate(comparison.results):
        left, below = MARGIN + number * (column + MARGIN), top + picture_height + MARGIN // 2
        sheet.paste(
            result.image.convert("RGB").resize((column, picture_height), Image.Resampling.LANCZOS),
            (left, top),
        )
        name = large if draw.textlength(result.label, large) <= column else small
        draw.text((left, below), _fitted(draw, result.label, name, column), INK, name)
        draw.text((left, below + 28), _fitted(draw, times_of(result), small, column), INK, small)
        draw.text((left, below + 50), _fitted(draw, scores_of(result), small, column), PALE, small)
    sheet.info["prompt"] = request.prompt
    sheet.info["settings"] = json.dumps(asdict(request), ensure_ascii=False)
    return sheet


def settings_of(comparison: Comparison) -> str:
    """The settings and the machine in one line."""
    request, model = comparison.request, comparison.model
    factor = " and ".join(map(str, request.factors))
    own = "".join(f", {name} {in_words(value)}" for name, value in request.own_settings.items())
    return (
        f"{request.width}×{request.height}, {request.steps} steps, guidance {request.guidance_scale:g}, "
        f"seed {request.seed}, factor {factor}{own} · {model.name}, {model.device_name}, {model.dtype}"
    )


def times_of(result: Result) -> str:
    """Seconds, speed-up, and beside it the FLOP speed-up and its ceiling, in one line."""
    line = f"{result.times.seconds:.2f} s"
    if method_of(result.method).steps is not None:
        line += f", {result.steps} steps"
    if result.speedup is None or result.is_baseline:
        return line
    line += f", {result.speedup:.2f}×"
    if result.plan.flop_speedup is None:
        return line
    ceiling = "" if result.plan.ceiling is None else f", ceiling {result.plan.ceiling:.2f}×"
    return f"{line} (FLOPs {result.plan.flop_speedup:.2f}×{ceiling})"


def scores_of(result: Result) -> str:
    """The scores in one line; "" if there are none."""
    scores = result.scores
    if scores is None:
        return ""
    if scores.identical:
        return "identical to Baseline"
    line = f"PSNR {scores.psnr:.1f} dB, SSIM {scores.ssim:.3f}"
    return line if scores.high_frequency is None else f"{line}, fine detail {scores.high_frequency:.0%}"


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text on one line, cut to the width."""
    text = " ".join(text.split()).replace("×", "x")  # the font that comes with Pillow has no ×
    if draw.textlength(text, font) <= width:
        return text
    too_long = bisect_right(range(len(text)), width, key=lambda n: draw.textlength(text[:n] + "…", font))
    return text[: too_long - 1] + "…"
