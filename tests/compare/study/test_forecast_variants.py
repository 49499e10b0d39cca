from __future__ import annotations

import numpy as np
import pytest
import torch

from compare.errors import InvalidRequest
from compare.models.load import LoadedPipeline, Source, loaded_pipeline, with_scheduler
from compare.study.forecast_variants import FORECAST_VARIANTS, extrapolate, forecast_by, in_step
from compare.study.studied import studied_method
from compare.study.sweep import StudyRequest
from tests.helpers.tiny_models import sdxl_pipeline
from todo_patch import Forecast, patched

STEPS = 20


@pytest.fixture(scope="module")
def loaded() -> LoadedPipeline:
    return loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))


def request(method: str) -> StudyRequest:
    return StudyRequest(
        prompt="a fox", width=64, height=64, steps=STEPS, guidance_scale=2.0, methods=("baseline", method)
    )


def latents(loaded: LoadedPipeline, steps: int = STEPS) -> torch.Tensor:
    return loaded.pipe(
        prompt="a fox",
        height=64,
        width=64,
        num_inference_steps=steps,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images


def test_the_polynomial_is_the_one_through_all_points() -> None:
    for places in ((3.0,), (3.0, 5.0), (3.0, 5.0, 6.5)):
        outputs = torch.randn(len(places), 4, dtype=torch.float64)
        fitted = np.polyfit(places, outputs.numpy(), len(places) - 1)
        found = extrapolate(list(zip(places, outputs, strict=True)), 8.0)
        assert found.numpy() == pytest.approx(sum(c * 8.0**i for i, c in enumerate(fitted[::-1])))


def test_a_line_in_the_step_is_forecast_itself(loaded) -> None:
    with patched(loaded.pipe, Forecast()):
        expected = latents(loaded)
    with forecast_by(loaded.pipe, Forecast(), 2, in_step):
        found = latents(loaded)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", FORECAST_VARIANTS, ids=lambda variant: variant.id)
def test_every_variant_leaves_out_the_calls_that_it_says_and_the_model_as_it_was(loaded, variant) -> None:
    (method,) = variant.patches(request(variant.id))
    left_out = method.steps(STEPS)
    assert left_out
    assert max(left_out) <= STEPS - 2
    baseline = latents(loaded)
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1

    layer = loaded.pipe.unet.conv_in  # hooks on the UNet are called for forecasts too
    with layer.register_forward_hook(count), variant.on(loaded.pipe, request(variant.id)):
        found = latents(loaded)
    assert made == STEPS - len(left_out)
    assert not torch.equal(found, baseline)
    assert torch.equal(latents(loaded), baseline)


def test_variants_of_which_steps_forecast_as_many() -> None:
    count = len(Forecast().steps(STEPS))
    steps = {
        id: studied_method(f"forecast-{id}").patches(request(f"forecast-{id}"))[0].steps(STEPS)
        for id in ("early", "spread", "in-a-row")
    }
    assert {len(chosen) for chosen in steps.values()} == {count}
    assert steps["early"] == (2, 4, 6, 8, 10, 12)
    assert steps["in-a-row"] == (13, 14, 15, 16, 17, 18)
    assert (steps["spread"][0], steps["spread"][-1]) == (2, 18)


def test_reuse_answers_with_the_last_output(loaded) -> None:
    seen: list[torch.Tensor] = []
    variant = studied_method("forecast-reuse")
    with variant.on(loaded.pipe, request(variant.id)):
        handle = loaded.pipe.unet.register_forward_hook(lambda *a: seen.append(a[-1][0].clone()))
        latents(loaded)
        handle.remove()
    for step in Forecast().steps(STEPS):
        assert torch.equal(seen[step], seen[step - 1])


def test_log_sigma_is_refused_where_a_step_has_no_sigma_of_its_own() -> None:
    loaded = loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))
    with_scheduler(loaded, "HeunDiscreteScheduler")
    variant = studied_method("forecast-log-sigma")
    with pytest.raises(InvalidRequest, match="not HeunDiscreteScheduler"):
        variant.check(loaded.pipe, request(variant.id))
