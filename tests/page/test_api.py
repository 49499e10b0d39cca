"""The endpoint `/compare`, as `gradio_client` and MCP clients see it."""

from __future__ import annotations

import asyncio
import json

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from compare import METHODS, Comparison
from tests.helpers.server import Server

MOMENT = {"width": 128, "height": 128, "steps": 2}


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.address, verbose=False)


def predict(client: Client, prompt: object = "a red apple on mint", **settings: object) -> tuple:
    return client.predict(prompt, **{**MOMENT, **settings}, api_name="/compare")


def test_there_is_one_endpoint_and_it_has_the_names_and_defaults_it_promises(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/compare"]
    parameters = endpoints["/compare"]["parameters"]
    assert [p["parameter_name"] for p in parameters if not p["parameter_has_default"]] == ["prompt"]
    defaults = {p["parameter_name"]: p["parameter_default"] for p in parameters if p["parameter_has_default"]}
    assert list(defaults) == [
        "negative_prompt", "width", "height", "steps", "guidance_scale", "seed", "factor", "methods",
        "repeats",
    ]  # fmt: skip
    assert defaults["methods"] == ["baseline", "tome", "todo"]
    assert defaults["factor"] == 2
    assert (defaults["width"], defaults["height"]) == (512, 512)


def test_it_answers_the_pictures_and_a_flat_report(client: Client) -> None:
    methods = ["baseline", "tome", "todo", "todo-rotating", "fewer-steps"]
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


def test_methods_that_were_not_asked_for_do_not_run(client: Client) -> None:
    pictures, report = predict(client, methods=["todo"])
    assert len(pictures) == 1
    (result,) = report["results"]
    assert (result["method"], result["speedup"], result["psnr"]) == ("todo", None, None)


def test_the_same_request_gives_the_same_pictures(client: Client) -> None:
    first, second = (predict(client, seed=8)[0] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        with Image.open(one["image"]) as this, Image.open(other["image"]) as that:
            assert this.tobytes() == that.tobytes()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": "  \n"}, "The prompt is empty"),
        ({"prompt": "a" * 77_000}, "2000 characters; this one has 77000"),
        ({"prompt": 7}, "must be text"),
        ({"width": 3}, "multiple of 8 from 64 to 2048 pixels, not 3."),
        ({"height": 100_000}, "multiple of 8 from 64 to 2048 pixels, not 100000."),
        ({"width": "NaN"}, "multiple of 8 from 64 to 2048 pixels, not 'NaN'."),
        ({"width": None}, "multiple of 8 from 64 to 2048 pixels, not nothing."),
        ({"steps": 0}, "Steps must be a whole number from 1 to 100, not 0."),
        ({"steps": True}, "Steps must be a whole number from 1 to 100, not True."),
        ({"factor": 0}, "Factor must be a whole number from 1 to 8, not 0."),
        ({"factor": 1.5}, "Factor must be a whole number from 1 to 8, not 1.5."),
        ({"seed": -1}, "Seed must be a whole number from 0 to 4294967295, not -1."),
        ({"methods": ["todo", "magic"]}, "'magic' is not one of them"),
        ({"methods": []}, "No method was chosen"),
        ({"methods": "todo"}, "Methods must be a list"),
    ],
    ids=lambda value: json.dumps(value)[:24] if isinstance(value, dict) else "",
)
def test_nonsense_gets_a_sentence(client: Client, settings: dict, says: str) -> None:
    with pytest.raises(AppError) as refused:
        predict(client, **settings)
    assert says in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_after_an_error_the_next_request_works(client: Client) -> None:
    with pytest.raises(AppError):
        predict(client, steps=0)
    assert len(predict(client, methods=["todo"])[0]) == 1


def test_it_is_a_tool_for_language_models(server: Server) -> None:
    async def use() -> tuple[list, object]:
        address = f"{server.address}/gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            answer = await session.call_tool(
                tools[0].name, {"prompt": "a fox on navy", **MOMENT, "methods": ["baseline", "todo"]}
            )
            return tools, answer

    (tool,), answer = asyncio.run(use())
    assert tool.name == "compare"
    assert "ToMe and ToDo" in tool.description
    assert tool.inputSchema["required"] == ["prompt"]
    assert not answer.isError
    said = " ".join(part.text for part in answer.content if part.type == "text")
    assert '"speedup"' in said or "'speedup'" in said


def test_the_report_is_that_of_the_command_line(client: Client) -> None:
    pictures, report = predict(client, methods=["baseline", "todo"])
    for result, picture in zip(report["results"], pictures, strict=True):
        result["image"] = Image.open(picture["image"])
    comparison = Comparison.model_validate(report)
    assert comparison.request.prompt == "a red apple on mint"
    assert comparison.model.source == "assets/mini-sdxl"
    assert comparison.result("todo").speedup == report["results"][1]["speedup"]
