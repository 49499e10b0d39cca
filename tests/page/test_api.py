"""The endpoint `/compare`, as `gradio_client` and MCP clients see it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from compare import METHODS, Comparison
from compare.request import METHOD_SETTINGS
from tests.helpers.server import Server
from tests.helpers.visitors import predict, refusal, settings_of


def test_there_is_one_endpoint_and_it_has_the_names_and_defaults_it_promises(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/compare"]
    parameters = endpoints["/compare"]["parameters"]
    assert [p["parameter_name"] for p in parameters if not p["parameter_has_default"]] == ["prompt"]
    defaults = {p["parameter_name"]: p["parameter_default"] for p in parameters if p["parameter_has_default"]}
    assert list(defaults) == [
        "negative_prompt", "width", "height", "steps", "guidance_scale", "seed", "factor", "methods",
        "repeats", "until", "pooling", "forecast_share", "tome_ratio", "tome_stride", "tome_levels",
        "tome_seed",
    ]  # fmt: skip
    assert defaults["methods"] == ["baseline", "tome", "todo"]
    assert {name: defaults[name] for name in ("factor", *METHOD_SETTINGS)} == {
        "factor": 2, "until": 1.0, "pooling": "nearest", "forecast_share": 0.3, "tome_ratio": None,
        "tome_stride": None, "tome_levels": None, "tome_seed": 0,
    }  # fmt: skip
    assert (defaults["width"], defaults["height"]) == (512, 512)


def test_it_answers_the_pictures_and_a_flat_report(client: Client) -> None:
    methods = [method.id for method in METHODS]
    pictures, report = predict(client, methods=methods, seed=3)
    assert [entry["caption"] for entry in pictures] == [method.label for method in METHODS]
    for entry in pictures:
        with Image.open(entry["image"]) as picture:
            assert (picture.format, picture.size) == ("PNG", (128, 128))
    assert [result["method"] for result in report["results"]] == methods
    baseline, *others = report["results"]
    assert (baseline["speedup"], baseline["psnr"], baseline["ssim"]) == (1.0, None, 1.0)
    for result in others:
        assert result["seconds"] > 0
        assert result["speedup"] == pytest.approx(baseline["seconds"] / result["seconds"])
        assert result["psnr"] is None or result["psnr"] > 5
        assert -1 <= result["ssim"] <= 1


def test_settings_of_methods_are_in_the_names_of_pictures_and_in_the_report(client: Client) -> None:
    settings = {
        "factor": [4, 2], "methods": ["todo", "tome", "forecast"], "until": 0.5, "pooling": "average",
        "forecast_share": 0.4, "steps": 8, "tome_ratio": 0.5, "tome_stride": 3, "tome_levels": 1,
        "tome_seed": 7,
    }  # fmt: skip
    pictures, report = predict(client, **settings)
    assert [entry["caption"] for entry in pictures] == [
        "ToDo (until 0.5, pooling average)",
        "ToMe (until 0.5, ratio 0.5, stride 3, levels 1, seed 7)",
        "Forecast (share 0.4)",
    ]
    assert {name: report["request"][name] for name in settings} == settings
    assert [result["label"] for result in report["results"]] == [entry["caption"] for entry in pictures]


def test_a_list_of_values_may_end_before_the_settings_of_methods(server: Server) -> None:
    address = f"{server.address}/gradio_api/call/compare"
    values = settings_of()[: -len(METHOD_SETTINGS)]
    event = httpx.post(address, json={"data": values}).json()["event_id"]
    said = httpx.get(f"{address}/{event}", timeout=60).text
    assert "event: complete" in said
    assert '"pooling": "nearest"' in said


def test_methods_that_were_not_asked_for_do_not_run(client: Client) -> None:
    pictures, report = predict(client, methods=["todo"])
    assert len(pictures) == 1
    (result,) = report["results"]
    assert (result["method"], result["speedup"], result["psnr"]) == ("todo", None, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt": "a" * 77_000},
        {"prompt": 7},
        {"width": "NaN"},
        {"height": None},
        {"steps": True},
        {"factor": 1.5},
        {"factor": [4, 1.5]},
        {"factor": [2] * 9},
        {"pooling": "median"},
        {"tome_ratio": 0.9, "methods": ["tome"]},
        {"tome_levels": 9},
        {"seed": -1},
        {"methods": ["todo", "magic"]},
        {"methods": "todo"},
    ],
    ids=lambda settings: str(settings)[:24],
)
def test_what_a_request_refuses_gets_its_sentence(client: Client, settings: dict[str, object]) -> None:
    with pytest.raises(AppError) as refused:
        predict(client, **settings)
    assert refusal(**settings) in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_it_is_a_tool_for_language_models(server: Server) -> None:
    async def use() -> tuple[list, object]:
        address = f"{server.address}/gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            settings = {"prompt": "a fox on navy", "width": 128, "height": 128, "steps": 2, "factor": [2, 2]}
            settings |= {"tome_ratio": None, "pooling": "average"}
            answer = await session.call_tool(tools[0].name, settings)
            return tools, answer

    (tool,), answer = asyncio.run(use())
    assert tool.name == "compare"
    assert "ToMe and ToDo" in tool.description
    assert tool.inputSchema["required"] == ["prompt"]
    parameters = tool.inputSchema["properties"]
    assert all(parameter["description"] for parameter in parameters.values())
    assert all(method.id in parameters["methods"]["description"] for method in METHODS)
    assert not answer.isError
    said = " ".join(part.text for part in answer.content if part.type == "text")
    assert "pooling average" in said
    assert '"speedup"' in said or "'speedup'" in said


def test_the_report_is_that_of_the_command_line(client: Client) -> None:
    pictures, report = predict(client, methods=["baseline", "todo"])
    for result, picture in zip(report["results"], pictures, strict=True):
        result["image"] = Image.open(picture["image"])
    comparison = Comparison.model_validate(report)
    assert comparison.request.prompt == "a fox"
    assert comparison.model.source == "assets/mini-sdxl"
    assert comparison.result("todo").speedup == report["results"][1]["speedup"]
