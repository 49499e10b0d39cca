from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from training.make import Places, Stage, make, on_a_cpu, on_a_gpu

STAGES = tuple(
    Stage.of(module, number=number) for number, module in enumerate(("vae", "diffusion", "export"))
)


def made(stages: tuple[Stage, ...], work: Path, dies_at: Stage | None = None) -> list[Stage]:
    """Which stages ran."""
    ran = []

    def run(stage: Stage) -> None:
        if stage == dies_at:
            raise KeyboardInterrupt
        ran.append(stage)

    with suppress(KeyboardInterrupt):
        make(stages, work, run)
    return ran


def test_killed_it_goes_on_with_the_stage_that_was_not_finished(tmp_path) -> None:
    assert made(STAGES, tmp_path, dies_at=STAGES[1]) == [STAGES[0]]
    assert made(STAGES, tmp_path) == list(STAGES[1:])
    assert made(STAGES, tmp_path) == []


def test_a_changed_stage_runs_again_with_all_that_come_after_it(tmp_path) -> None:
    made(STAGES, tmp_path)
    changed = (STAGES[0], Stage.of("diffusion", number=7), STAGES[2])
    assert made(changed, tmp_path, dies_at=STAGES[2]) == [changed[1]]
    assert made(changed, tmp_path) == [STAGES[2]]
    assert made(STAGES, tmp_path) == list(STAGES[1:])


def test_a_stage_is_a_command() -> None:
    stage = Stage.of("score", learning_rate=8e-4, prompts=(2, 1))
    assert str(stage) == "python -m training.score --learning-rate 0.0008 --prompts 2 1"


@pytest.mark.parametrize("plan", [on_a_cpu, on_a_gpu])
def test_every_option_of_every_stage_is_known(plan, tmp_path, monkeypatch, capsys) -> None:
    """Each command is given one option more, and must complain of that one only."""
    for stage in plan(Places(tmp_path / "work", tmp_path / "model", 1.0)):
        command = importlib.import_module(stage.module)
        monkeypatch.setattr(sys, "argv", [stage.module, *stage.options, "--nonsense"])
        with pytest.raises(SystemExit):
            command.main()
        assert capsys.readouterr().err.rstrip().endswith("unrecognized arguments: --nonsense")
