from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from compare.errors import InvalidRequest
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from compare.study.row_folder import RowFolder
from compare.study.truth import Plan, Row, Setup, main, markdown, plot, rows, steps_for
from tests.helpers.tiny_models import sdxl_pipeline
from todo_patch import Forecast

SETUP = Setup(
    model="tiny", weights="0", dtype="float32", torch="0", diffusers="0", truth_scheduler="…", truth_steps=12
)


@pytest.fixture
def loaded() -> LoadedPipeline:
    return loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))


def plan(**changes: object) -> Plan:
    return Plan(
        **{
            "prompts": ["a fox", "a pig"],
            "size": 64,
            "guidance_scale": 2.0,
            "truth_scheduler": "EulerDiscreteScheduler",
            "truth_steps": 12,
            "schedulers": ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"],
            "calls": [7, 12],
            "shares": [0.0, 0.3],
            **changes,
        }
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.45])
def test_a_run_makes_as_many_calls_as_are_asked_for(share) -> None:
    for calls in range(8, 40):
        steps = steps_for(calls, share)
        assert steps - (len(Forecast(share=share).steps(steps)) if share else 0) == calls


def test_calls_that_no_run_makes_are_an_error() -> None:
    with pytest.raises(InvalidRequest, match=r"share of 0\.6 forecast makes 2 calls"):
        steps_for(2, 0.6)


def test_each_picture_takes_its_calls_and_the_truth_is_drawn_once_a_prompt(loaded, tmp_path) -> None:
    made: list[int] = []
    forward = loaded.pipe.unet.forward

    def counting(*args: object, **keywords: object) -> object:
        made.append(1)
        return forward(*args, **keywords)

    loaded.pipe.unet.forward = counting
    with RowFolder(tmp_path, SETUP, Row) as folder:
        drawn = list(rows(loaded, plan(), folder))
    assert len(drawn) == 2 * 2 * 2 * 2
    assert len(made) == 2 * 12 + sum(row.calls for row in drawn)
    # The truth's own solver with as many steps draws the truth.
    equal = [row for row in drawn if row.psnr == math.inf]
    assert {(row.scheduler, row.calls, row.share) for row in equal} == {("EulerDiscreteScheduler", 12, 0.0)}
    assert len(equal) == 2


def test_it_goes_on_where_it_was_stopped(loaded, tmp_path) -> None:
    with RowFolder(tmp_path / "whole", SETUP, Row) as whole:
        list(rows(loaded, plan(), whole))
    with RowFolder(tmp_path / "stopped", SETUP, Row) as stopped:
        run = rows(loaded, plan(), stopped)
        for _ in range(3):
            next(run)
        run.close()
        list(rows(loaded, plan(), stopped))
        assert stopped.rows == whole.rows
        assert list(rows(loaded, plan(), stopped)) == []


def _row(prompt: str, share: float, psnr: float) -> Row:
    return Row(
        prompt=prompt, seed=0, size=64, guidance_scale=2.0, scheduler="Euler", share=share, calls=10,
        steps=steps_for(10, share), psnr=psnr, ssim=1.0,
    )  # fmt: skip


def test_the_table_pairs_prompt_by_prompt(tmp_path) -> None:
    found = [
        _row("a", 0.0, 20.0), _row("b", 0.0, 30.0), _row("c", 0.0, 31.0),
        _row("a", 0.3, 25.0), _row("b", 0.3, 35.0), _row("c", 0.3, 36.0),
    ]  # fmt: skip
    line = markdown(found).splitlines()[-1]
    assert line == "| Euler | 10 | 3 | 30.0 | 35.0 (13 steps) | +5.0 (+5.0 to +5.0) |"
    plot(found, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_the_command_draws_a_plan(tmp_path, monkeypatch) -> None:
    sdxl_pipeline().save_pretrained(tmp_path / "model")
    file = tmp_path / "plan.toml"
    file.write_text(
        'prompts = ["a fox"]\nsize = 64\nguidance_scale = 2.0\ntruth_scheduler = "EulerDiscreteScheduler"\n'
        'truth_steps = 4\nschedulers = ["EulerDiscreteScheduler"]\ncalls = [3]\nshares = [0.0]\n'
    )
    run(monkeypatch, file, "--model", tmp_path / "model", "--device", "cpu", "--out", tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"rows.jsonl", "setup.json", "table.md", "curve.png"} <= written


def test_a_file_that_is_no_plan_is_refused(tmp_path, monkeypatch, capsys) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("prompts = 3")
    with pytest.raises(SystemExit):
        run(monkeypatch, file, "--out", tmp_path / "out")
    assert "is no plan" in capsys.readouterr().err


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["truth", *map(str, arguments)])
    main()
