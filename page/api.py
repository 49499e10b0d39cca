"""What the API answers: a gallery and a report whose `results` are flat."""

from __future__ import annotations

from typing import Any

from compare.report import Comparison, Result
from page.pictures import Pictures


def gallery(comparison: Comparison, files: Pictures) -> list[tuple[str, str]]:
    """The pictures, as paths of files, with their methods' labels."""
    return [(files.save(result.image, result.method), result.label) for result in comparison.results]


def report(comparison: Comparison) -> dict[str, Any]:
    """`report.json`, with the numbers of each result also at the top of its entry."""
    whole = comparison.model_dump(mode="json")
    whole["results"] = [
        {**_flat(result), **nested}
        for result, nested in zip(comparison.results, whole["results"], strict=True)
    ]
    return whole


def _flat(result: Result) -> dict[str, Any]:
    scores, finest = result.scores, result.plan.levels[0]
    itself = result.is_baseline
    return {
        "method": result.method,
        "label": result.label,
        "seconds": result.times.seconds,
        "speedup": result.speedup,
        "flop_speedup": result.plan.flop_speedup,
        "ceiling": result.plan.ceiling,
        "psnr": scores.psnr if scores else None,
        "ssim": 1.0 if itself else scores.ssim if scores else None,
        "identical": itself or (scores.identical if scores else None),
        "tokens": finest.tokens,
        "kv_tokens": finest.kv_tokens,
        "query_tokens": finest.query_tokens,
    }
