from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from compare import experiment
from compare.clock import timed_loop
from compare.events import MethodDone, StepDone
from compare.experiment import run
from compare.load import LoadedPipeline
from compare.preview import has_preview


def call(loaded: LoadedPipeline, **options: object) -> None:
    loaded.pipe("a fox", height=64, width=64, num_inference_steps=3, **options)


def slow(function: Callable, seconds: float) -> Callable:
    def slowed(*args: object, **kwargs: object) -> object:
        time.sleep(seconds)
        return function(*args, **kwargs)

    return slowed


def test_the_clock_counts_the_loop_and_neither_encoding_nor_decoding(loaded, monkeypatch) -> None:
    monkeypatch.setattr(loaded.pipe, "encode_prompt", slow(loaded.pipe.encode_prompt, 0.3))
    monkeypatch.setattr(loaded.pipe.vae, "decode", slow(loaded.pipe.vae.decode, 0.3))
    with timed_loop(loaded.pipe, torch.device("cpu")) as clock:
        call(loaded)
    assert 0 < clock.seconds < 0.3


def test_the_clock_counts_every_step(loaded, monkeypatch) -> None:
    monkeypatch.setattr(loaded.pipe.unet, "forward", slow(loaded.pipe.unet.forward, 0.1))
    with timed_loop(loaded.pipe, torch.device("cpu")) as clock:
        call(loaded)
    assert 0.3 <= clock.seconds < 0.6


def test_the_clock_stands_still_while_paused(loaded) -> None:
    def pause(pipe: object, index: int, timestep: object, tensors: dict) -> dict:
        with clock.paused():
            time.sleep(0.2)
        return tensors

    with timed_loop(loaded.pipe, torch.device("cpu")) as clock:
        call(loaded, callback_on_step_end=pause)
    assert clock.seconds < 0.3


def test_previews_are_not_on_the_clock_and_decoding_is_apart(loaded, request_for, monkeypatch) -> None:
    monkeypatch.setattr(experiment, "preview", slow(lambda *_: None, 0.2))
    monkeypatch.setattr(loaded.pipe.vae, "decode", slow(loaded.pipe.vae.decode, 0.2))
    results = [e.result for e in run(loaded, request_for()) if isinstance(e, MethodDone)]
    assert len(results) == 3
    for result in results:
        assert result.times.seconds < 0.2
        assert result.times.decoding >= 0.2


def test_the_warm_up_step_is_not_on_the_clock(loaded, request_for) -> None:
    calls = 0

    def slow_first_call(*_) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 1:  # one warm-up step and two timed ones for each method
            time.sleep(0.3)

    handle = loaded.pipe.unet.register_forward_pre_hook(slow_first_call)
    events = list(run(loaded, request_for(steps=2)))
    handle.remove()
    assert calls == 9
    assert all(result.times.seconds < 0.3 for result in events[-1].comparison.results)


def test_all_methods_have_their_previews_at_the_same_steps(loaded, request_for) -> None:
    steps: dict[str, list[int]] = {}
    for event in run(loaded, request_for(steps=12)):
        if isinstance(event, StepDone) and event.preview:
            steps.setdefault(event.method, []).append(event.step)
    assert list(steps.values()) == [[2, 4, 6, 8, 10]] * 3


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 30, 100])
def test_there_are_at_most_eight_previews(steps) -> None:
    assert sum(has_preview(step, steps) for step in range(1, steps + 1)) <= 8


def test_the_pipelines_progress_bar_comes_back(loaded, capsys) -> None:
    with timed_loop(loaded.pipe, torch.device("cpu")):
        call(loaded)
    assert "progress_bar" not in vars(loaded.pipe)
    loaded.pipe.set_progress_bar_config(disable=False)
    call(loaded)
    assert "3/3" in capsys.readouterr().err
