"""Settings are checked when they are made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from todo_patch import ToDo, ToMe

REFUSED = {
    (ToDo, "factor"): (0, -1, 1.5, 2.0, True, "2", None, (), (2, 0), (2, 1.5), (True,), [2, 2]),
    (ToDo, "pooling"): ("mean", None, 2),
    (ToDo, "grid"): ("random", None),
    (ToDo, "until"): (-0.1, 1.1, float("nan"), True, "1", None),
    (ToDo, "merge"): ("queries", "keys/values", None, True),
    (ToMe, "ratio"): (-0.1, 0.76, float("nan"), True, "0.5", None),
    (ToMe, "stride"): (0, 1, 2.0, True, None),
    (ToMe, "levels"): (0, 1.0, True, (1,)),
    (ToMe, "seed"): (-1, 1.0, True, None, 2**63),
    (ToMe, "until"): (-0.1, 1.1, float("nan"), True, "1", None),
    (ToMe, "merge"): ("queries", "keys/values", None, True),
}


@pytest.mark.parametrize(
    ("method", "field", "value"), [(*of, value) for of, values in REFUSED.items() for value in values]
)
def test_a_refused_setting_is_named_with_its_value(method, field, value) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        method(**{field: value})
    assert f"{method.__name__}: {field}={value!r}" in str(error.value)


def test_tome_ratio_goes_as_far_as_the_stride_lets_it() -> None:
    assert ToMe(ratio=1 - 1 / 9, stride=3).ratio == 1 - 1 / 9
    with pytest.raises(ValueError, match=r"ratio=0\.89 .* from 0 to 0\.75 = 1 - 1/stride² \(stride=2\)"):
        ToMe(ratio=0.89)


def test_average_and_rotating_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="no token to choose"):
        ToDo(pooling="average", grid="rotating")


def test_settings_are_values() -> None:
    assert ToDo(factor=(2, 1)) == ToDo(factor=(2, 1))
    assert len({ToMe(), ToMe(), ToMe(seed=1)}) == 2
    with pytest.raises(FrozenInstanceError):
        ToDo().factor = 3


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(1024, 1024, 2), (1536, 1536, 3), (2048, 2048, 4), (512, 512, 1), (256, 256, 1), (1080, 1920, 3)],
)
def test_presets_are_the_authors(height, width, factor) -> None:
    assert ToDo.for_size(height, width) == ToDo(factor=factor)


@pytest.mark.parametrize("size", [0, 1024.0, True, "1024"])
def test_presets_refuse_anything_but_a_size(size) -> None:
    with pytest.raises(ValueError, match="height="):
        ToDo.for_size(size, 1024)


@pytest.mark.parametrize(
    ("todo", "tome"),
    [
        (ToDo(), ToMe(ratio=0.75, stride=2)),
        (ToDo(factor=3, grid="rotating"), ToMe(ratio=1 - 1 / 9, stride=3)),
        (ToDo(factor=(4, 4)), ToMe(ratio=1 - 1 / 16, stride=4, levels=2)),
        (ToDo(factor=(2, 1)), ToMe(ratio=0.75, stride=2)),
        (ToDo(factor=1), ToMe(ratio=0)),
        (ToDo(until=0.5), ToMe(until=0.5)),
    ],
)
def test_tome_like_todo_keeps_as_many_keys(todo, tome) -> None:
    assert ToMe.like(todo) == ToMe.like(replace(todo, merge="all")) == tome
    assert ToMe.like(todo, seed=3, merge="keys-values") == replace(tome, seed=3, merge="keys-values")


@pytest.mark.parametrize("todo", [ToDo(factor=(4, 2)), ToDo(factor=(1, 2))])
def test_tome_like_todo_raises_if_there_is_no_equal(todo) -> None:
    with pytest.raises(ValueError, match="no equal"):
        ToMe.like(todo)
