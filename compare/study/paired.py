"""How much one method of a sweep differs from another on the same prompts, noise and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from compare.statistics import mean_interval
from compare.study.curve import factor_of, place_of, setting_of
from compare.study.rows import Row
from compare.study.studied import studied_method


@dataclass(frozen=True)
class Measure:
    """One number of a row, by which two methods are compared."""

    name: str
    digits: int
    of: Callable[[Row], float | None]


PSNR = Measure("PSNR, dB", 2, lambda row: row.psnr)
SSIM = Measure("SSIM", 4, lambda row: row.ssim)
FINE_DETAIL = Measure(  # how far its energy is from Baseline's, as a fraction of it
    "fine detail off by", 3, lambda row: None if row.high_frequency is None else abs(row.high_frequency - 1)
)
MEASURES = (
    PSNR,
    SSIM,
    Measure("MS-SSIM", 4, lambda row: row.ms_ssim),
    Measure("LPIPS", 4, lambda row: row.lpips),
    Measure("FLIP", 4, lambda row: row.flip),
    FINE_DETAIL,
    Measure("of the prompt", 3, lambda row: row.shown / row.asked if row.asked else None),
    Measure("speed-up", 3, lambda row: row.speedup),
)


@dataclass(frozen=True)
class Difference:
    """The mean of (one method − the other) over pairs, with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    wins: int
    """Pairs in which the first has the larger number."""
    pairs: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference:
        wins = sum(difference > 0 for difference in differences)
        return cls(mean(differences), *mean_interval(differences), wins, len(differences))

    def written(self, digits: int) -> str:
        return f"{self.mean:+.{digits}f} ({self.low:+.{digits}f} to {self.high:+.{digits}f})"


@dataclass(frozen=True)
class Contrast:
    """Two methods under one setting and factor of a sweep, on one device."""

    sweep: str
    setting: str
    device: str | None
    """None if the rows do not name it."""
    factor: str
    method: str
    against: str
    differences: dict[Measure, Difference]
    """Without the measures that no pair has."""

    @property
    def label(self) -> str:
        return f"{studied_method(self.method).label} − {studied_method(self.against).label}"


def contrasts(sweep: str, rows: Iterable[Row], methods: Sequence[str], against: str) -> list[Contrast]:
    """Each of the methods against one, by setting, device and factor, in the order in which these first come.

    A pair is from one device. It counts if both have the number; a picture equal to its baseline's has no
    PSNR.
    """
    by_key = {row.key: row for row in rows}
    groups: dict[tuple[str, str | None, str, str], list[tuple[Row, Row]]] = {}
    for row in by_key.values():
        other = by_key.get((against, *row.key[1:]))
        if row.method in methods and other is not None and other.device == row.device:
            place = setting_of(row), row.device, factor_of(row), row.method
            groups.setdefault(place, []).append((row, other))
    return [Contrast(sweep, *place, against, _differences(pairs)) for place, pairs in groups.items()]


def markdown(found: Sequence[Contrast]) -> str:
    """One table: a line per contrast, and a column for each measure that any of them has."""
    place = place_of(found)
    measures = [measure for measure in MEASURES if any(measure in c.differences for c in found)]
    heads = ["sweep", "setting", "factor", "methods", "pairs", *(m.name for m in measures)]
    heads.append(f"{PSNR.name} larger in")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for contrast in found:
        there = contrast.differences
        pairs = max(difference.pairs for difference in there.values())
        cells = [contrast.sweep, place(contrast), contrast.factor, contrast.label, str(pairs)]
        cells += [there[m].written(m.digits) if m in there else "–" for m in measures]
        cells.append(f"{there[PSNR].wins} of {there[PSNR].pairs}" if PSNR in there else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _differences(pairs: Sequence[tuple[Row, Row]]) -> dict[Measure, Difference]:
    found = {}
    for measure in MEASURES:
        both = [(measure.of(ours), measure.of(theirs)) for ours, theirs in pairs]
        values = [ours - theirs for ours, theirs in both if ours is not None and theirs is not None]
        if values:
            found[measure] = Difference.of(values)
    return found
