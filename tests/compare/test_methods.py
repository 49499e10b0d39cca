from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from compare import methods
from compare.experiment.worker import run
from compare.methods import METHODS, Method, Reduction
from compare.script import script_for
from compare.sheet import times_of
from compare.study.grid_variants import studied_methods
from tests.helpers.run import finished


@contextmanager
def damped(pipe: object, request: Reduction) -> Iterator[None]:
    """Stands in for somebody else's package, with its own enable and disable."""

    def damp(_: object, __: object, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (output[0] * 0.9,)

    handle = pipe.unet.register_forward_hook(damp)
    yield
    handle.remove()


OUTSIDER = Method(id="damped", label="Damped", description="somebody else's", colour="#123456", enable=damped)


@pytest.fixture
def outsider(monkeypatch) -> Method:
    """One more entry in the registry."""
    monkeypatch.setattr(methods, "METHODS", (*METHODS, OUTSIDER))
    return OUTSIDER


def test_a_method_of_somebody_else_is_a_column_like_any_other(loaded, request_for, outsider) -> None:
    comparison = finished(run(loaded, request_for(methods=("damped", "todo", "baseline"))))
    assert [result.label for result in comparison.results] == ["Baseline", "Damped", "ToDo"]
    damped = comparison.result("damped")
    assert not damped.scores.identical
    assert damped.speedup > 0
    assert damped.plan.flop_speedup is None, "nobody has counted its FLOPs"
    assert re.fullmatch(r"[\d.]+ s, [\d.]+×", times_of(damped))
    assert not loaded.pipe.unet._forward_hooks
    assert "Damped has to be enabled" in script_for(comparison.request, "damped", loaded.info)


def test_ids_and_colours_are_unique_and_ids_are_file_names() -> None:
    known = studied_methods()
    assert len({method.id for method in known}) == len({method.colour for method in known}) == len(known)
    for method in known:
        assert re.fullmatch(r"[a-z0-9-]+", method.id)
        assert re.fullmatch(r"#[0-9a-f]{6}", method.colour)
        assert not method.description.endswith(".")


@pytest.mark.parametrize(("seconds", "fit"), [(5.0, 5), (5.9, 5), (0.1, 1), (12.0, 10)])
def test_fewer_steps_are_as_many_as_fit_and_at_least_one(seconds, fit) -> None:
    assert methods.FEWER_STEPS.steps(10, {"baseline": 10.0, "todo": seconds}) == fit
