"""The options of `python app.py`, each with an environment variable."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit

from server.limits import Limits

YES = ("1", "true", "yes", "on")
HUB = "https://huggingface.co"  # shows every Space in a frame
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What the operator of a server decides: the options, as `python app.py --help` explains them."""

    model: str | None = None
    device: str | None = None
    attention: str = "sdpa"
    port: int | None = None
    host: str = "127.0.0.1"
    share: bool = False
    proxies: int = 0
    origins: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    log_prompts: bool = False
    grace: int = 4
    limits: Limits = field(default_factory=Limits)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Allowed host names; empty for any.

        A server that only this machine reaches has few, and any other means that somebody else's name points
        here. A server that others reach cannot know all of its names, nor that of a public link.
        """
        if self.share or self.host not in LOOPBACK:
            return ()
        return (*LOOPBACK, *(urlsplit(origin).hostname or "" for origin in self.origins))


def parse_options(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> ServerOptions:
    """The options of a command line. Without an option its environment variable counts, then the default.

    Args:
        arguments: without the name of the program (default: those of this process).

    Raises:
        SystemExit: a value is not allowed, and standard error says what is; or `--help`.
    """
    given = environment.get
    parser = argparse.ArgumentParser(description="Compare ToDo and ToMe in the browser.")
    parser.add_argument(
        "--model", default=given("TODO_MODEL") or None,
        help="a folder, a .safetensors file or owner/name[@revision] on the Hub (TODO_MODEL; default: by "
        "device)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default=given("TODO_DEVICE") or None,
        help="cpu, cuda, cuda:1, ... (TODO_DEVICE; default: cuda if there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--attention", default=given("TODO_ATTENTION") or "sdpa",
        help="sdpa, or xformers if it runs (TODO_ATTENTION; default: sdpa)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_whole_number("GRADIO_SERVER_PORT", 1, 65535), metavar="N",
        default=given("GRADIO_SERVER_PORT") or None,
        help="taken or fail (GRADIO_SERVER_PORT; default: the first free one from 7860)",
    )  # fmt: skip
    parser.add_argument(
        "--host", default=given("GRADIO_SERVER_NAME") or ("0.0.0.0" if given("SPACE_ID") else "127.0.0.1"),
        help="address to listen on; 0.0.0.0 is every one (GRADIO_SERVER_NAME; default: this machine only, "
        "every one in a Space)",
    )  # fmt: skip
    parser.add_argument(
        "--share", action="store_true", default=given("GRADIO_SHARE", "").lower() in YES,
        help="also make a public link, through Gradio's servers (GRADIO_SHARE; default: no)",
    )  # fmt: skip
    serving = parser.add_argument_group("serving")
    serving.add_argument(
        "--proxies", type=_whole_number("TODO_PROXIES", 0, 10), metavar="N",
        default=given("TODO_PROXIES") or (1 if given("SPACE_HOST") else 0),
        help="trusted proxies in front, which say in X-Forwarded-For who asks (TODO_PROXIES; default: 0, and "
        "1 on a Space)",
    )  # fmt: skip
    serving.add_argument(
        "--origin", dest="origins", action="append", type=_origin("TODO_ORIGINS"), default=[],
        metavar="ADDRESS",
        help="an address under which browsers know this server, or of another site that may ask it, like "
        "https://example.org; can be repeated (TODO_ORIGINS, with commas)",
    )  # fmt: skip
    serving.add_argument(
        "--frame", dest="frames", action="append", type=_origin("TODO_FRAMES"), default=[], metavar="ADDRESS",
        help="another site that may show the page in a frame; can be repeated (TODO_FRAMES, with commas; "
        f"default: none, and {HUB} on a Space)",
    )  # fmt: skip
    serving.add_argument(
        "--log-prompts", action="store_true", default=given("TODO_LOG_PROMPTS", "").lower() in YES,
        help="log prompts too (TODO_LOG_PROMPTS; default: no)",
    )  # fmt: skip
    serving.add_argument(
        "--grace", type=_whole_number("TODO_GRACE", 0, 24 * 3600), default=given("TODO_GRACE") or 4,
        metavar="SECONDS",
        help="that a run has to finish when the server is stopped (TODO_GRACE; default: 4)",
    )  # fmt: skip
    group = parser.add_argument_group("limits", "for a server that many share")
    for limit in fields(Limits):
        variable = f"TODO_MAX_{limit.name.upper()}"
        group.add_argument(
            f"--max-{limit.name.replace('_', '-')}", dest=limit.name, metavar="N",
            type=_whole_number(variable, 1, limit.metadata["most"]), default=given(variable) or limit.default,
            help=f"{limit.metadata['about']} ({variable}; default: {limit.default})",
        )  # fmt: skip
    origins = [*_listed(given("TODO_ORIGINS")), *(f"https://{host}" for host in _listed(given("SPACE_HOST")))]
    frames = [*_listed(given("TODO_FRAMES")), *([HUB] if given("SPACE_ID") else [])]
    arguments = sys.argv[1:] if arguments is None else arguments
    from_environment = [f"--origin={origin}" for origin in origins] + [f"--frame={frame}" for frame in frames]
    options = vars(parser.parse_args([*from_environment, *arguments]))
    limits = Limits(**{limit.name: options.pop(limit.name) for limit in fields(Limits)})
    for several in ("origins", "frames"):
        options[several] = tuple(options[several])
    return ServerOptions(limits=limits, **options)


def _whole_number(variable: str, low: int, high: int) -> Callable[[str], int]:
    """The `type` of an option that `variable` can give, too."""

    def value_of(text: str) -> int:
        with suppress(ValueError):
            if low <= int(text) <= high:
                return int(text)
        raise argparse.ArgumentTypeError(
            f"it, or {variable}, must be a whole number from {low} to {high}, not {text!r}"
        )

    return value_of


def _origin(variable: str) -> Callable[[str], str]:
    """The `type` of an option for addresses of sites that `variable` can give, too."""

    def value_of(text: str) -> str:
        with suppress(ValueError):
            parts = urlsplit(text)
            if parts.scheme in ("http", "https") and parts.hostname and not parts.path + parts.query:
                parts.port  # noqa: B018  raises ValueError if there can be none
                return text
        raise argparse.ArgumentTypeError(
            f"it, or {variable}, must be like https://example.org, without a path, not {text!r}"
        )

    return value_of


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
