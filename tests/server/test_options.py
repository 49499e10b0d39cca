"""The options of the server, from a command line and from the environment."""

from __future__ import annotations

import pytest

from app import main
from server.limits import Limits
from server.options import ServerOptions, parse_options


def parsed(*arguments: str, **environment: str) -> ServerOptions:
    return parse_options(arguments, environment)


def test_an_option_counts_before_its_variable_and_that_before_the_default() -> None:
    assert parsed() == ServerOptions()
    assert parsed(TODO_MAX_REPEATS="3").limits == Limits(repeats=3)
    assert parsed("--max-repeats", "4", TODO_MAX_REPEATS="3").limits == Limits(repeats=4)
    assert parsed(TODO_MODEL="a/b", GRADIO_SERVER_PORT="80", TODO_LOG_PROMPTS="yes") == ServerOptions(
        model="a/b", port=80, log_prompts=True
    )


def test_the_attention_backend_is_an_option_and_a_variable() -> None:
    assert parsed().attention == "sdpa"
    assert parsed(TODO_ATTENTION="xformers").attention == "xformers"
    assert parsed("--attention", "sdpa", TODO_ATTENTION="xformers").attention == "sdpa"


def test_a_backend_that_does_not_run_ends_the_start_with_the_reason(capsys) -> None:
    assert main(["--model", "assets/mini-sdxl", "--device", "cpu", "--attention", "xformers"]) == 2
    assert capsys.readouterr().err == ("error: Attention by 'xformers' does not run on cpu; there is sdpa.\n")


def test_allowed_origins_of_options_and_variable_add_up() -> None:
    options = parsed("--origin", "https://c.example", TODO_ORIGINS="https://a.example, http://b.example")
    assert options.origins == ("https://a.example", "http://b.example", "https://c.example")


NUMBERS = [
    ("--port", "GRADIO_SERVER_PORT", 1), ("--proxies", "TODO_PROXIES", 0), ("--grace", "TODO_GRACE", 0),
    ("--max-megapixel-steps", "TODO_MAX_MEGAPIXEL_STEPS", 1), ("--max-seconds", "TODO_MAX_SECONDS", 1),
    ("--max-prompt-characters", "TODO_MAX_PROMPT_CHARACTERS", 1), ("--max-repeats", "TODO_MAX_REPEATS", 1),
    ("--max-in-line", "TODO_MAX_IN_LINE", 1), ("--max-per-visitor", "TODO_MAX_PER_VISITOR", 1),
    ("--max-per-second", "TODO_MAX_PER_SECOND", 1), ("--max-per-minute", "TODO_MAX_PER_MINUTE", 1),
]  # fmt: skip


@pytest.mark.parametrize(("option", "variable", "least"), NUMBERS)
@pytest.mark.parametrize("value", ["-1", "1.5", "many", "99999999999999999999"])
def test_a_wrong_number_ends_the_start_with_a_sentence(
    capsys, option: str, variable: str, least: int, value: str
) -> None:
    for arguments, environment in (([f"{option}={value}"], {}), ([], {variable: value})):
        with pytest.raises(SystemExit) as end:
            parse_options(arguments, environment)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert f"error: argument {option}: " in said
        assert f"{variable}, must be a whole number from {least} to" in said
        assert f"not {value!r}\n" in said


@pytest.mark.parametrize(("option", "variable"), [("--origin", "TODO_ORIGINS"), ("--frame", "TODO_FRAMES")])
@pytest.mark.parametrize("value", ["example.org", "https://a/b", "ftp://a", "https://a:99999", "https://["])
def test_what_is_no_origin_ends_the_start_with_a_sentence(
    capsys, value: str, option: str, variable: str
) -> None:
    for arguments, environment in (([option, value], {}), ([], {variable: value})):
        with pytest.raises(SystemExit):
            parse_options(arguments, environment)
        assert f"argument {option}: it, or {variable}, must be like https://example.org" in (
            capsys.readouterr().err
        )


def test_only_a_server_that_others_cannot_reach_knows_all_its_names() -> None:
    assert "127.0.0.1" in parsed().hosts
    assert "page.example.org" in parsed("--origin", "https://page.example.org").hosts
    assert parsed("--host", "0.0.0.0").hosts == ()
    assert parsed("--share").hosts == ()


def test_a_space_knows_its_own_address_and_that_it_is_behind_a_proxy() -> None:
    space = {"SPACE_ID": "someone/page", "SPACE_HOST": "someone-page.hf.space"}
    options = parsed(**space)
    assert options.origins == ("https://someone-page.hf.space",)
    assert options.frames == ("https://huggingface.co",)
    assert parsed().frames == ()
    assert (options.host, options.proxies) == ("0.0.0.0", 1)
    assert parsed("--proxies", "2", **space).proxies == 2
