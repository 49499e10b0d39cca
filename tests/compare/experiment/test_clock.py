from __future__ import annotations

from itertools import count

import pytest
import torch

from compare.events import StepDone
from compare.experiment.clock import timed_loop
from compare.experiment.decoding import has_preview
from compare.experiment.worker import run
from compare.models.load import LoadedPipeline
from tests.helpers.run import finished


def call(loaded: LoadedPipeline, **options: object) -> None:
    loaded.pipe("a fox", height=64, width=64, num_inference_steps=3, **options)


def test_the_clock_counts_the_loop_and_neither_encoding_nor_decoding(loaded, monkeypatch, hand_clock) -> None:
    monkeypatch.setattr(loaded.pipe, "encode_prompt", hand_clock.slow(loaded.pipe.encode_prompt, 5))
    monkeypatch.setattr(loaded.pipe.unet, "forward", hand_clock.slow(loaded.pipe.unet.forward, 1))
    monkeypatch.setattr(loaded.pipe.vae, "decode", hand_clock.slow(loaded.pipe.vae.decode, 5))
    with timed_loop(loaded.pipe, torch.device("cpu")) as clock:
        call(loaded)
    assert clock.seconds == 3


def test_the_clock_stands_still_while_paused(loaded, hand_clock) -> None:
    def pause(pipe: object, index: int, timestep: object, tensors: dict) -> dict:
        hand_clock.now += 1
        with clock.paused():
            hand_clock.now += 10
        return tensors

    with timed_loop(loaded.pipe, torch.device("cpu")) as clock:
        call(loaded, callback_on_step_end=pause)
    assert clock.seconds == 3


def test_previews_are_not_on_the_clock_and_decoding_is_apart(
    loaded, request_for, monkeypatch, hand_clock
) -> None:
    monkeypatch.setattr("compare.experiment.denoising.preview", hand_clock.slow(lambda *_: None, 10))
    monkeypatch.setattr(loaded.pipe.unet, "forward", hand_clock.slow(loaded.pipe.unet.forward, 1))
    monkeypatch.setattr(loaded.pipe.vae, "decode", hand_clock.slow(loaded.pipe.vae.decode, 7))
    results = finished(run(loaded, request_for())).results
    assert len(results) == 3
    for result in results:
        assert result.times.seconds == 3
        assert result.times.decoding == 7


def test_the_warm_up_step_is_not_on_the_clock(loaded, request_for, hand_clock) -> None:
    calls = count(1)

    def slow_first_call(*_: object) -> None:
        # One step that spins up, then one warm-up step and two timed ones for each method.
        hand_clock.now += 100 if next(calls) % 3 == 2 else 1

    with loaded.pipe.unet.register_forward_pre_hook(slow_first_call):
        results = finished(run(loaded, request_for(steps=2))).results
    assert next(calls) == 11
    assert all(result.times.seconds == 2 for result in results)


@pytest.mark.parametrize(("steps", "with_preview"), [(3, [1, 2]), (12, [2, 4, 6, 8, 10])])
def test_all_methods_have_their_previews_at_the_same_steps(loaded, request_for, steps, with_preview) -> None:
    events = run(loaded, request_for(steps=steps))
    assert [e.step for e in events if isinstance(e, StepDone) and e.preview] == with_preview * 3


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
