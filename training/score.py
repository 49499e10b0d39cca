"""Scores a model by what its pictures show: fixed prompts, drawn as the page does, read by the classifier.

``python -m training.score`` scores the bundled model; ``--method todo --factor 2`` does it with patched
attention. Every picture's reading is appended to ``rows.jsonl`` in the folder ``--out`` at once, so that a
stopped run can be continued. ``--table a b`` prints the results of several folders as one table.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from pydantic import BaseModel, ValidationError

from compare.errors import InvalidRequest
from compare.experiment.denoising import Denoiser, Sample
from compare.methods import BASELINE, known_methods, method_of
from compare.models.load import LoadedPipeline, load_pipeline
from compare.models.source import BUNDLED, BUNDLED_DEFAULTS
from compare.models.weights_hash import fingerprint
from compare.statistics import Proportion
from compare.study.classifier import Classifier, load_classifier
from compare.study.row_folder import RowFolder
from training import WORK
from training.classifier import HELD_OUT_SEED, WEIGHTS
from training.labelled import draw_sheets, to_pixels
from training.prompts import Prompt, fixed_prompts
from training.vae import score_vae
from training.whole import RULES, Judge, load_judge

METHODS = tuple(method.id for method in known_methods() if not method.needs)
VAE_SCENES, VAE_SIDE = 16, 256


class Settings(BaseModel, frozen=True):
    """Everything that the pictures depend on, except size and prompt. A folder has one of these only."""

    model: str
    weights: str
    """Fingerprint of the model's."""
    classifier: str
    """Fingerprint of the classifier's."""
    whole: str
    """By which rules a sticker is whole."""
    method: str
    factor: int | None
    """None for Baseline."""
    steps: int
    guidance_scale: float
    device: str

    @property
    def label(self) -> str:
        label = method_of(self.method).label
        return label if self.factor is None else f"{label}, factor {self.factor}"


class Row(BaseModel, frozen=True):
    """One picture: the prompt, and what the classifier saw."""

    size: int
    """px a side."""
    prompt: str
    seed: int
    objects: tuple[str, ...]
    background: str
    seen: tuple[str, ...]
    background_seen: str
    stickers: int
    """Those that the picture's edge does not cut."""
    whole: int
    """Those of them that are whole."""
    seconds: float
    """Of the denoising loop."""

    @property
    def key(self) -> Hashable:
        return self.size, self.prompt, self.seed

    @property
    def found(self) -> bool:
        """Every object of the prompt is there."""
        return set(self.objects) <= set(self.seen)

    @property
    def strayed(self) -> bool:
        """There is an object that is not in the prompt."""
        return not set(self.seen) <= set(self.objects)


class SizeScore(BaseModel, frozen=True):
    """How well pictures of one size follow their prompts."""

    size: int
    one: Proportion
    """Prompts for one object whose object was found."""
    two: Proportion
    """Prompts for two objects that were both found."""
    background: Proportion
    strayed: Proportion
    """Pictures with an object that is not in the prompt."""
    whole: Proportion
    """Stickers that are one known thing, single, in its shape. Of all pictures together."""
    seconds_per_step: float
    """The median over the pictures."""


class Score(BaseModel, frozen=True):
    settings: Settings
    megabytes: float
    """The model's folder, in 10^6 bytes."""
    vae_psnr: float
    """dB, of the autoencoder's round trip on rendered sheets that it has not seen."""
    sizes: tuple[SizeScore, ...]


def draw_rows(
    loaded: LoadedPipeline,
    classifier: Classifier,
    judge: Judge,
    settings: Settings,
    folder: RowFolder[Row],
    asked: Sequence[tuple[int, Prompt]],
) -> Iterator[Row]:
    """Draw and read the pictures (size in px, prompt) that the folder has no row of yet."""
    for size, prompt in asked:
        if folder.holds([_key(size, prompt)]):
            continue
        sample = _draw(loaded, settings, size, prompt)
        reading = classifier.read(sample.image)
        stickers = judge.count(sample.image)
        row = Row(
            size=size,
            prompt=prompt.text,
            seed=prompt.seed,
            objects=prompt.objects,
            background=prompt.background,
            seen=reading.seen,
            background_seen=reading.background,
            stickers=stickers.of,
            whole=stickers.hits,
            seconds=sample.denoising,
        )
        folder.append([row])
        yield row


def _key(size: int, prompt: Prompt) -> Hashable:
    return size, prompt.text, prompt.seed


@torch.no_grad()
def _draw(loaded: LoadedPipeline, settings: Settings, size: int, prompt: Prompt) -> Sample:
    request = loaded.request(
        prompt.text,
        width=size,
        height=size,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        seed=prompt.seed,
        factor=settings.factor or 1,
        methods=(settings.method,),
    )
    with method_of(settings.method).on(loaded.pipe, request):
        denoiser = Denoiser(loaded, request, check_stopped=lambda: None)
        return denoiser.denoise(settings.steps, on_step=lambda *_: None, previews=False)


def summarise(rows: Sequence[Row], steps: int) -> tuple[SizeScore, ...]:
    """One score per size, the smallest first."""

    def share(hits: Iterator[bool]) -> Proportion:
        hits = list(hits)
        return Proportion(hits=sum(hits), of=len(hits))

    scores = []
    for size in sorted({row.size for row in rows}):
        same = [row for row in rows if row.size == size]
        scores.append(
            SizeScore(
                size=size,
                one=share(row.found for row in same if len(row.objects) == 1),
                two=share(row.found for row in same if len(row.objects) == 2),
                background=share(row.background_seen == row.background for row in same),
                strayed=share(row.strayed for row in same),
                whole=Proportion(hits=sum(row.whole for row in same), of=sum(row.stickers for row in same)),
                seconds_per_step=median(row.seconds for row in same) / steps,
            )
        )
    return tuple(scores)


def table(scores: Sequence[Score]) -> str:
    """One Markdown table of all scores, by size and then in the order given."""
    lines = [
        "| size | method | object found | both of two found | background right | strays | whole stickers "
        "| s per step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = [(score.settings.label, at) for score in scores for at in score.sizes]
    lines += [
        f"| {at.size} px | {label} | {at.one} | {at.two} | {at.background} | {at.strayed} "
        f"| {at.whole} | {at.seconds_per_step:.2f} |"
        for label, at in sorted(rows, key=lambda row: row[1].size)
    ]
    return "\n".join(lines)


def _read_score(folder: Path) -> Score:
    """
    Raises:
        InvalidRequest: there is none, or one of an older form.
    """
    file = folder / "score.json"
    try:
        return Score.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, part["loc"])) for part in error.errors())
        raise InvalidRequest(f"{file} is not such a score ({missing}): score the model anew.") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=BUNDLED, help="a pipeline folder with a vocabulary.json"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 768], help="px a side")
    parser.add_argument("--prompts", type=int, nargs="+", default=[60, 24, 8], help="how many at each size")
    parser.add_argument("--method", choices=METHODS, default=BASELINE.id)
    parser.add_argument("--factor", type=int, default=2, help="of downsampling; ToMe has the equal reduction")
    parser.add_argument("--steps", type=int, default=BUNDLED_DEFAULTS.steps)
    parser.add_argument("--guidance", type=float, default=BUNDLED_DEFAULTS.guidance_scale)
    parser.add_argument("--classifier", type=Path, default=WEIGHTS)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: by method and factor, in training/work/score"
    )
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="FOLDER", help="print these results, draw nothing"
    )
    args = parser.parse_args()

    if args.table:
        try:
            print(table([_read_score(folder) for folder in args.table]))
        except InvalidRequest as error:
            parser.error(str(error))
        return
    if len(args.sizes) != len(args.prompts):
        parser.error("--sizes and --prompts must be equally many")
    factor = None if method_of(args.method) is BASELINE else args.factor
    name = args.method if factor is None else f"{args.method}-{factor}"
    out = args.out or WORK / "score" / name

    loaded = load_pipeline(args.model, dtype=torch.float32)
    classifier = load_classifier(args.classifier).to(loaded.device)
    if loaded.vocabulary is None:
        parser.error(f"{args.model} has no vocabulary.json, which lists what it can draw")
    objects = loaded.vocabulary.objects
    if unread := set(objects) - set(classifier.objects):
        parser.error(f"the classifier cannot read {', '.join(sorted(unread))}: train it on more --things")
    judge = load_judge(classifier)
    settings = Settings(
        model=loaded.info.source,
        weights=fingerprint(loaded.pipe),
        classifier=hashlib.sha256(args.classifier.read_bytes()).hexdigest()[:16],
        whole=RULES,
        method=args.method,
        factor=factor,
        steps=args.steps,
        guidance_scale=args.guidance,
        device=loaded.info.device_name,
    )
    asked = [
        (size, prompt)
        for size, count in zip(args.sizes, args.prompts, strict=True)
        for prompt in fixed_prompts(objects, count)
    ]
    try:
        with RowFolder(out, settings, Row) as folder:
            for row in draw_rows(loaded, classifier, judge, settings, folder, asked):
                seen = " and ".join(row.seen) or "nothing"
                print(
                    f"{row.size} px, {row.prompt!r}: {seen} on {row.background_seen}, "
                    f"{row.whole} of {row.stickers} stickers whole, {row.seconds:.1f} s",
                    flush=True,
                )
    except InvalidRequest as error:
        parser.error(str(error))
    wanted = {_key(*picture) for picture in asked}
    sheets = draw_sheets(len(objects), VAE_SCENES, VAE_SIDE, HELD_OUT_SEED)
    pixels = to_pixels(np.stack([sheet.pixels for sheet in sheets]), loaded.device)
    score = Score(
        settings=settings,
        megabytes=sum(file.stat().st_size for file in args.model.rglob("*") if file.is_file()) / 1e6,
        vae_psnr=score_vae(loaded.pipe.vae, pixels),
        sizes=summarise([row for row in folder.rows if row.key in wanted], settings.steps),
    )
    (out / "score.json").write_text(score.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(f"\n{table([score])}\n")
    print(f"Model: {score.megabytes:.1f} MB. Autoencoder: {score.vae_psnr:.1f} dB PSNR. Saved in {out}")


if __name__ == "__main__":
    main()
