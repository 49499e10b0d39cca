from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compare.__main__ import main
from compare.cli import size
from compare.events import StepDone
from compare.experiment import worker as experiment
from compare.experiment.worker import run
from compare.files import load_comparison

PROJECT = Path(__file__).resolve().parents[2]


def command(tiny_folder: Path, *options: str) -> list[str]:
    fixed = ["run", "a fox", "--model", str(tiny_folder), "--device", "cpu", "--size", "64", "--steps", "2"]
    return [*fixed, *options]


def test_the_command_does_what_the_page_does(tiny_folder, tmp_path, capsys) -> None:
    out = tmp_path / "result"
    methods = ["baseline", "tome", "todo", "todo-rotating", "tome-kv", "todo-all", "fewer-steps"]
    options = ["--methods", *methods, "--repeats", "2", "--seed", "7", "--out", str(out)]
    assert main(command(tiny_folder, *options)) == 0
    comparison = load_comparison(out)
    assert [result.method for result in comparison.results] == methods
    assert (comparison.request.seed, comparison.request.repeats, comparison.request.steps) == (7, 2, 2)
    assert (out / "comparison.png").is_file()
    printed = capsys.readouterr()
    assert "ToDo, rotating grid" in printed.out
    assert "ceiling" in printed.out
    assert "ToMe (2 of 2)" in printed.err  # its progress bar
    assert "2/2" in printed.err


def test_sizes_may_have_two_sides_and_factors_two_levels(tiny_folder, tmp_path) -> None:
    options = ["--size", "128x64", "--factor", "2", "2", "--methods", "todo", "--out", str(tmp_path)]
    assert main(command(tiny_folder, *options)) == 0
    asked = load_comparison(tmp_path).request
    assert (asked.width, asked.height, asked.factor) == (128, 64, (2, 2))
    assert size("64") == size("64x") == (64, 64)


def test_settings_of_methods_are_options(tiny_folder, tmp_path, capsys) -> None:
    options = ["--methods", "tome", "todo", "--out", str(tmp_path), "--factor", "2", "2"]
    settings = {
        "until": 0.5, "pooling": "average", "forecast_share": 0.5, "tome_ratio": 0.5, "tome_stride": 3,
        "tome_levels": 1, "tome_seed": 7,
    }  # fmt: skip
    for name, value in settings.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    assert main(command(tiny_folder, *options)) == 0
    saved = load_comparison(tmp_path)
    assert {name: getattr(saved.request, name) for name in settings} == settings
    tome, todo = (result.label for result in saved.results)
    assert tome == "ToMe (until 0.5, ratio 0.5, stride 3, levels 1, seed 7)"
    printed = capsys.readouterr()
    assert f"{todo} " in printed.out
    assert "Settings that change none of the chosen methods: forecast_share." in printed.err
    assert "average" in saved.result("todo").image.info["settings"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run fox --size 3", "Width must be a multiple of 8"),
        ("run fox --size nan", "not nan"),
        ("run fox --size big", "not 'big'"),
        ("run fox --steps 0", "Steps must be"),
        ("run fox --steps 2.5", "not 2.5"),
        ("run fox --factor 1.5", "Factor must be"),
        ("run fox --factor 2 2 2", "level"),
        ("run fox --seed -1", "Seed must be"),
        ("run fox --until 2", "Until must be a number from 0.01 to 1, not 2"),
        ("run fox --pooling median", "Pooling must be nearest or average"),
        ("run fox --tome-ratio 0.8", "1 - 1/stride²"),
        ("run fox --tome-levels 4", "level"),
        ("run fox --tome-stride 8 --size 64", "stride"),
        ("run fox --methods forecast --forecast-share 0.6 --steps 5", "smaller share"),
        ("run fox --methods magic", "'magic' is not one of them"),
        ("run fox --model no/such/folder", "There is no model 'no/such/folder'"),
        ("bench --sizes big", "not 'big'"),
        ("bench --factors 1", "from 2 to 8"),
        ("bench --methods magic", "'magic' is not one of them"),
        ("bench --rounds none", "Rounds must be"),
        ("bench --architecture sdxl", "exclude each other"),
        ("bench --random-weights", "goes with --architecture"),
        ("bench --attention xformers", "does not run on cpu"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(tiny_folder, tmp_path, capsys, words, says) -> None:
    command, *options = words.split()
    fixed = ["--model", str(tiny_folder), "--device", "cpu", "--out", str(tmp_path)]
    assert main([command, *fixed, *options]) == 2
    printed = capsys.readouterr().err
    last = printed.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in printed
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_reported_before_the_work(tiny_folder, tmp_path, capsys) -> None:
    (tmp_path / "taken").write_text("a file")
    assert main(command(tiny_folder, "--out", str(tmp_path / "taken"))) == 2
    printed = capsys.readouterr().err
    assert "taken cannot be a folder" in printed
    assert "Baseline" not in printed


def test_ctrl_c_stops_in_order(tiny_folder, tmp_path, capsys, monkeypatch) -> None:
    def press(event: object) -> object:
        if isinstance(event, StepDone) and event.step == 1:
            signal.raise_signal(signal.SIGINT)
        return event

    monkeypatch.setattr(experiment, "run", lambda *given: map(press, run(*given)))
    options = ["--steps", "100", "--size", "512", "--repeats", "20", "--out", str(tmp_path)]
    before = signal.getsignal(signal.SIGINT)  # a shell starts what runs in the background with it ignored
    assert main(command(tiny_folder, *options)) == 130
    assert "Stopped." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGINT) is before


def test_help_does_not_wait_for_torch() -> None:
    help = ["--help", *(f"{command} --help" for command in ("run", "bench", "profile", "sweep", "paired"))]
    lines = f"""
import sys
from contextlib import suppress
from compare.__main__ import main
from compare.cli import size
for options in {help}:
    with suppress(SystemExit):
        main(options.split())
assert not {{"torch", "gradio", "scipy", "pydantic"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", lines], check=True, cwd=PROJECT, capture_output=True)


def test_the_libraries_start_quietly() -> None:
    lines = "from compare import load_pipeline, run; import diffusers; diffusers.StableDiffusionXLPipeline"
    done = subprocess.run(
        [sys.executable, "-c", lines], check=True, cwd=PROJECT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
