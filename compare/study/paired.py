"""How much one method of a sweep differs from another on the same prompts, noise and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compare.methods import method_of
from compare.study.curve import factor_of, setting_of
from compare.study.grid_variants import studied_methods
from compare.study.rows import Row

RESAMPLES = 10_000


@dataclass(frozen=True)
class Measure:
    """One number of a row, by which two methods are compared."""

    name: str
    digits: int
    of: Callable[[Row], float | None]


def _off_by(row: Row) -> float | None:
    """How far the energy of fine detail is from Baseline's, as a share of that."""
    return None if row.high_frequency is None else abs(row.high_frequency - 1)


DECIDES = Measure("PSNR, dB", 2, lambda row: row.psnr)
MEASURES = (
    DECIDES,
    Measure("SSIM", 4, lambda row: row.ssim),
    Measure("LPIPS", 4, lambda row: row.lpips),
    Measure("fine detail off by", 3, _off_by),
    Measure("of the prompt", 3, lambda row: row.shown / row.asked if row.asked else None),
    Measure("speed-up", 3, lambda row: row.speedup),
)


@dataclass(frozen=True)
class Difference:
    """The mean of (one method − the other) over pairs, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    wins: int
    """Pairs in which the first has the larger number."""
    pairs: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference:
        """The interval is the percentile bootstrap's, which assumes no distribution."""
        values = np.asarray(differences)
        rng = np.random.default_rng(0)
        means = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        return cls(float(values.mean()), float(low), float(high), int((values > 0).sum()), len(values))

    def written(self, digits: int) -> str:
        return f"{self.mean:+.{digits}f} ({self.low:+.{digits}f} to {self.high:+.{digits}f})"


@dataclass(frozen=True)
class Contrast:
    """Two methods under one setting and factor of a sweep."""

    sweep: str
    setting: str
    factor: str
    method: str
    against: str
    differences: dict[str, Difference]
    """By the name of the measure; those that no pair has are not there."""

    @property
    def label(self) -> str:
        known = studied_methods()
        return f"{method_of(self.method, known).label} − {method_of(self.against, known).label}"


def contrasts(sweep: str, rows: Iterable[Row], methods: Sequence[str], against: str) -> list[Contrast]:
    """Each of the methods against one, by setting and factor, in the order in which these first come up.

    A pair counts where both have the number; a picture equal to its baseline's has no PSNR.
    """
    by_key = {row.key: row for row in rows}
    groups: dict[tuple[str, str, str], list[tuple[Row, Row]]] = {}
    for row in by_key.values():
        other = by_key.get((against, *row.key[1:]))
        if row.method in methods and other is not None:
            groups.setdefault((setting_of(row), factor_of(row), row.method), []).append((row, other))
    return [
        Contrast(sweep, setting, factor, method, against, _differences(pairs))
        for (setting, factor, method), pairs in groups.items()
    ]


def markdown(found: Sequence[Contrast]) -> str:
    """One table: a line per contrast, and a column for each measure that any of them has."""
    measures = [m for m in MEASURES if any(m.name in contrast.differences for contrast in found)]
    heads = [
        "sweep",
        "setting",
        "factor",
        "methods",
        "pairs",
        *(m.name for m in measures),
        f"{DECIDES.name} larger in",
    ]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for contrast in found:
        there = contrast.differences
        cells = [there[m.name].written(m.digits) if m.name in there else "–" for m in measures]
        wins = there.get(DECIDES.name)
        pairs = max(difference.pairs for difference in there.values())
        lines.append(
            _line(
                [
                    contrast.sweep,
                    contrast.setting,
                    contrast.factor,
                    contrast.label,
                    str(pairs),
                    *cells,
                    f"{wins.wins} of {wins.pairs}" if wins else "–",
                ]
            )
        )
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _differences(pairs: Sequence[tuple[Row, Row]]) -> dict[str, Difference]:
    found = {}
    for measure in MEASURES:
        both = [(measure.of(ours), measure.of(theirs)) for ours, theirs in pairs]
        values = [ours - theirs for ours, theirs in both if ours is not None and theirs is not None]
        if values:
            found[measure.name] = Difference.of(values)
    return found
