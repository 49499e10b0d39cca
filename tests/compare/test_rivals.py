"""Methods of other authors: what they leave behind must not reach the next method."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler, PNDMScheduler

from compare.__main__ import main
from compare.errors import InvalidRequest
from compare.experiment.worker import run
from compare.methods import known_methods, method_of
from compare.request import Request
from tests.helpers.run import finished
from tests.helpers.tiny_models import generate, sd15_pipeline, sdxl_pipeline

RIVALS = ("deepcache", "deepcache-3", "pab")


@pytest.fixture(params=[sdxl_pipeline, sd15_pipeline])
def pipe(request: pytest.FixtureRequest) -> Any:
    return request.param()


def attributes(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """All that the modules of a model hold: weights, hooks, processors, replaced `forward`s."""
    return {
        name: {key: dict(value) if isinstance(value, dict) else value for key, value in vars(module).items()}
        for name, module in model.named_modules()
    }


def counted(module: torch.nn.Module) -> list[int]:
    """A list that grows with every run of the module's first layer, however the module itself is called."""
    calls: list[int] = []
    first = next(layer for layer in module.modules() if not list(layer.children()))
    first.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("id", RIVALS)
def test_the_model_is_what_it_was_afterwards(pipe, id) -> None:
    baseline, before = generate(pipe), attributes(pipe.unet)
    with method_of(id).on(pipe, None):
        assert not torch.equal(generate(pipe), baseline)
    assert attributes(pipe.unet) == before
    assert torch.equal(generate(pipe), baseline)


@pytest.mark.parametrize("id", RIVALS)
def test_a_run_that_fails_leaves_the_model_as_it_was(pipe, id) -> None:
    def stop(pipe: object, index: int, timestep: object, tensors: dict) -> dict:
        if index == 2:
            raise KeyboardInterrupt
        return tensors

    before = attributes(pipe.unet)
    with pytest.raises(KeyboardInterrupt), method_of(id).on(pipe, None):
        generate(pipe, callback_on_step_end=stop)
    assert attributes(pipe.unet) == before


@pytest.mark.parametrize("id", RIVALS)
@pytest.mark.parametrize("steps", [1, 3])
def test_nothing_of_the_run_before_is_used(pipe, id, steps) -> None:
    with method_of(id).on(pipe, None):
        generate(pipe, steps=steps, prompt="something else", height=32)  # such as a warm-up
        after = generate(pipe, steps=6)
    with method_of(id).on(pipe, None):
        assert torch.equal(generate(pipe, steps=6), after)


@pytest.mark.parametrize(("id", "whole"), [("deepcache", 4), ("deepcache-3", 3)])
def test_deepcache_runs_all_but_the_last_layers_in_one_of_so_many_steps(pipe, id, whole) -> None:
    first, inner = counted(pipe.unet.down_blocks[0]), counted(pipe.unet.mid_block)
    last = counted(pipe.unet.up_blocks[-1].resnets[-1])
    with method_of(id).on(pipe, None):
        generate(pipe, steps=7)
    assert (len(first), len(inner), len(last)) == (whole, whole, 7)


def test_pyramid_attention_broadcast_uses_every_other_output_in_the_middle_of_a_run(pipe) -> None:
    block = pipe.unet.down_blocks[1].attentions[0].transformer_blocks[0]
    itself, across = counted(block.attn1), counted(block.attn2)
    with method_of("pab").on(pipe, None):
        generate(pipe, steps=10)
    middle = [step for step, t in enumerate(pipe.scheduler.timesteps) if 100 < t < 800]
    assert len(across) == 10
    assert len(itself) == 10 - sum(step % 2 for step in middle) < 10


def test_they_are_columns_like_any_other(loaded, request_for) -> None:
    alone = finished(run(loaded, request_for(methods=("baseline", "todo"), steps=6)))
    comparison = finished(run(loaded, request_for(methods=("baseline", *RIVALS, "todo"), steps=6)))
    for id in ("baseline", "todo"):
        assert comparison.result(id).image.tobytes() == alone.result(id).image.tobytes()
    for id in RIVALS:
        assert not comparison.result(id).scores.identical
        assert comparison.result(id).plan.flop_speedup is None


def test_deepcache_refuses_samplers_whose_steps_it_cannot_tell_apart(loaded, request_for) -> None:
    loaded.pipe.scheduler = HeunDiscreteScheduler.from_config(loaded.pipe.scheduler.config)
    events = run(loaded, request_for(methods=("baseline", "deepcache")))
    with pytest.raises(InvalidRequest, match="HeunDiscreteScheduler"):
        next(events)
    finished(run(loaded, request_for(methods=("baseline", "pab"))))


def test_deepcache_refuses_steps_of_several_calls_and_a_unet_that_it_cannot_wrap(loaded, request_for) -> None:
    several = PNDMScheduler.from_config(loaded.pipe.scheduler.config, skip_prk_steps=False)
    one = PNDMScheduler.from_config(loaded.pipe.scheduler.config, skip_prk_steps=True)
    loaded.pipe.scheduler = several
    with pytest.raises(InvalidRequest, match="PNDMScheduler"):
        next(run(loaded, request_for(methods=("baseline", "deepcache"))))
    for scheduler in (one, EulerDiscreteScheduler.from_config(several.config)):
        loaded.pipe.scheduler = scheduler
        finished(run(loaded, request_for(methods=("baseline", "deepcache"))))
    pipe = sd15_pipeline(mid_block_type=None)
    with pytest.raises(InvalidRequest, match="middle block"), method_of("deepcache").on(pipe, None):
        pass


def test_pyramid_attention_broadcast_refuses_compiled_models(pipe) -> None:
    pipe.unet.compile_repeated_blocks()
    with pytest.raises(InvalidRequest, match="do not compile"), method_of("pab").on(pipe, None):
        pass


@pytest.fixture
def without_deepcache(monkeypatch) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name == "DeepCache":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr("compare.methods.version", version)


@pytest.mark.usefixtures("without_deepcache")
def test_without_its_package_a_method_is_not_offered_and_the_reader_is_told_how_to_get_it(capsys) -> None:
    assert [method.id for method in known_methods() if method.id in RIVALS] == ["pab"]
    small = {"prompt": "a fox", "width": 64, "height": 64, "steps": 2, "guidance_scale": 4.0}
    with pytest.raises(InvalidRequest, match=r"deepcache needs: pip install DeepCache==0\.1\.1"):
        Request(**small, methods=("baseline", "deepcache"))
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "pip install DeepCache==0.1.1" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("without_deepcache")
def test_a_report_with_a_method_that_is_not_installed_can_be_read() -> None:
    assert method_of("deepcache").label == "DeepCache"
