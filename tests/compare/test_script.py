from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from compare.experiment.worker import run
from compare.models.load import SDXL, load_pipeline
from compare.script import script_for
from tests.helpers.run import finished

PROJECT = Path(__file__).resolve().parents[2]
NASTY = 'a "fox" \\ on \'mint\'\n"""); raise SystemExit("狐")'


METHODS = ("baseline", "tome", "todo", "todo-rotating", "tome-kv", "todo-all", "fewer-steps")


@pytest.mark.parametrize("method", METHODS)
def test_the_lines_make_the_same_picture(tiny_folder, tmp_path, monkeypatch, method) -> None:
    loaded = load_pipeline(tiny_folder, device="cpu")
    asked = loaded.request(
        NASTY, negative_prompt="a dog", width=64, height=96, steps=3, seed=5,
        methods=METHODS,
    )  # fmt: skip
    result = finished(run(loaded, asked)).result(method)
    monkeypatch.chdir(tmp_path)
    exec(compile(script_for(asked, method, loaded.info, steps=result.steps), "script", "exec"), {})
    with Image.open(f"{method}.png") as picture:
        assert picture.tobytes() == result.image.tobytes()


@pytest.mark.parametrize("method", ["tome", "todo", "todo-all", "forecast"])
def test_the_lines_have_the_settings_of_the_method(tiny_folder, tmp_path, monkeypatch, method) -> None:
    loaded = load_pipeline(tiny_folder, device="cpu")
    asked = loaded.request(
        "a fox", width=128, height=96, steps=6, methods=(method,), factor=(4, 2), until=0.5,
        pooling="average", forecast_share=0.4, tome_ratio=0.5, tome_stride=3, tome_levels=2, tome_seed=7,
    )  # fmt: skip
    result = finished(run(loaded, asked)).result(method)
    lines = script_for(asked, method, loaded.info)
    said = {
        "tome": "ToMe(ratio=0.5, stride=3, levels=2, seed=7, until=0.5)",
        "todo": "ToDo(factor=(4, 2), pooling='average', until=0.5)",
        "todo-all": "ToDo(factor=(4, 2), pooling='average', until=0.5, merge='all')",
        "forecast": "Forecast(share=0.4)",
    }
    assert f"patched(pipe, {said[method]})" in lines
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "script", "exec"), {})
    with Image.open(f"{method}.png") as picture:
        assert picture.tobytes() == result.image.tobytes()


def test_the_lines_run_as_a_file_of_their_own(tiny_folder, tmp_path) -> None:
    loaded = load_pipeline(tiny_folder, device="cpu")
    asked = loaded.request("a fox", width=64, height=64, steps=1)
    (tmp_path / "mine.py").write_text(script_for(asked, "todo", loaded.info), encoding="utf-8")
    subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    assert (tmp_path / "todo.png").is_file()


def test_the_lines_name_what_the_model_is_made_of(loaded, request_for) -> None:
    info = loaded.info.model_copy(
        update={
            "source": SDXL.place, "revision": SDXL.revision, "variant": SDXL.variant, "vae": SDXL.vae,
            "vae_revision": SDXL.vae_revision, "device": "cuda", "dtype": "float16", "attention": "xformers",
        }
    )  # fmt: skip
    lines = script_for(request_for(), "tome", info)
    compile(lines, "script", "exec")
    for part in (SDXL.revision, SDXL.vae, SDXL.vae_revision, 'pipe.to("cuda")', "xformers", "torch.float16"):
        assert part in lines
    assert "patched(pipe, ToMe(ratio=0.75))" in lines


def test_the_lines_say_what_is_merged_where_it_is_not_the_methods_own(loaded, request_for) -> None:
    for method, setting in {
        "tome-kv": "ToMe(ratio=0.75, merge='keys-values')",
        "todo-all": "ToDo(factor=2, merge='all')",
        "todo": "ToDo(factor=2)",
    }.items():
        assert f"patched(pipe, {setting})" in script_for(request_for(), method, loaded.info)


def test_the_baselines_lines_need_nothing_of_this_project(loaded, request_for) -> None:
    assert "todo_patch" not in script_for(request_for(), "baseline", loaded.info)
