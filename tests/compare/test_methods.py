from __future__ import annotations

import re
from dataclasses import replace

import pytest

from compare import methods
from compare.experiment.worker import run
from compare.request import FORECAST_SHARE, POOLINGS
from compare.script import script_for
from compare.sheet import times_of
from compare.study.studied import studied_methods
from tests.helpers.run import finished
from todo_patch import Forecast, ToDo, ToMe


@pytest.mark.usefixtures("outsider")
def test_a_method_of_somebody_else_is_a_column_like_any_other(loaded, request_for) -> None:
    comparison = finished(run(loaded, request_for(methods=("theirs", "todo", "baseline"))))
    assert [result.label for result in comparison.results] == ["Baseline", "Theirs", "ToDo"]
    theirs = comparison.result("theirs")
    assert not theirs.scores.identical
    assert theirs.speedup > 0
    assert theirs.plan.flop_speedup is None, "nobody has counted its FLOPs"
    assert re.fullmatch(r"[\d.]+ s, [\d.]+×", times_of(theirs))
    assert not loaded.pipe.unet._forward_hooks
    assert "Theirs has to be enabled" in script_for(comparison.request, "theirs", loaded.info)


def test_ids_and_colours_are_unique_and_ids_are_file_names() -> None:
    known = studied_methods()
    assert len({method.id for method in known}) == len({method.colour for method in known}) == len(known)
    for method in known:
        assert re.fullmatch(r"[a-z0-9+-]+", method.id)
        assert re.fullmatch(r"#[0-9a-f]{6}", method.colour)
        assert not method.description.endswith(".")


@pytest.mark.parametrize(
    ("asked", "tome"),
    [
        ({}, ToMe(ratio=0.75, stride=2)),
        ({"factor": (3, 3)}, ToMe(ratio=8 / 9, stride=3, levels=2)),
        ({"tome_stride": 4}, ToMe(ratio=15 / 16, stride=4)),
        ({"tome_stride": 4, "tome_ratio": 0.5, "tome_levels": 2}, ToMe(ratio=0.5, stride=4, levels=2)),
        ({"factor": (4, 2), "tome_stride": 2}, ToMe(ratio=0.75, stride=2, levels=2)),
        ({"factor": (4, 1), "tome_stride": 2}, ToMe(ratio=0.75, stride=2)),
        ({"factor": 1}, ToMe(ratio=0.0)),
        ({"tome_seed": 7, "until": 0.5}, ToMe(seed=7, until=0.5)),
    ],
    ids=str,
)
def test_tome_is_the_equal_of_todo_but_for_settings_of_its_own(request_for, asked, tome) -> None:
    request = request_for(**asked)
    assert methods.TOME.patches(request) == (tome,)
    assert methods.TOME_KV.patches(request) == (replace(tome, merge="keys-values"),)


def test_defaults_of_a_request_are_those_of_the_library(request_for) -> None:
    assert methods.TODO_ROTATING_FORECAST.patches(request_for()) == (ToDo(grid="rotating"), Forecast())
    assert FORECAST_SHARE[1] == 1 - Forecast().after
    for pooling in POOLINGS:
        assert methods.TODO.patches(request_for(pooling=pooling)) == (ToDo(pooling=pooling),)


@pytest.mark.parametrize(("seconds", "fit"), [(5.0, 5), (5.9, 5), (0.1, 1), (12.0, 10)])
def test_fewer_steps_are_as_many_as_fit_and_at_least_one(seconds, fit) -> None:
    assert methods.FEWER_STEPS.steps(10, {"baseline": 10.0, "todo": seconds}) == fit
