"""What a request carries: its size, the time it takes to arrive, and whether gradio may see it."""

from __future__ import annotations

import json
from collections.abc import Collection

import anyio
from starlette.datastructures import Headers
from starlette.types import Receive

from server.front_door.kinds import Kind, check_id
from server.front_door.refused import Refused

BYTES = 256 * 1024  # two prompts of the longest kind and all settings take less than a tenth
SECONDS = 10.0  # from the headers to the end of the body
DEPTH = 32  # lists and objects within each other
WHOLE_NUMBERS = 2**63  # beyond, gradio cannot write them into its own answers
TOO_LONG = f"A request can have {BYTES} bytes here."
FILE = "gradio.FileData"


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body. Raises `Refused` if it is too long or does not arrive in time."""
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()) or int(length) > BYTES:
        raise Refused(413, TOO_LONG)
    body = bytearray()
    with anyio.move_on_after(SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused(400, "The request ended before its body did.")
            body += message.get("body", b"")
            if len(body) > BYTES:
                raise Refused(413, TOO_LONG)
            if not message.get("more_body", False):
                return bytes(body)
    raise Refused(408, f"A request has to be complete after {SECONDS:.0f} seconds.")


def check_body(kind: Kind, body: bytes, functions: Collection[int]) -> dict[str, object]:
    """The object that a body holds.

    Args:
        functions: the numbers of the page's functions.

    Raises:
        Refused: it is not JSON, or nothing that the page, a client of the API or a tool would send. Above all
            it names no file: gradio fetches the address of a file before the function is called that gets it,
            and uploads a file of its own machine if a tool names one.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body of a request has to be JSON.") from None
    if not isinstance(value, dict):
        raise Refused(400, "The body of a request has to be a JSON object.")
    _check_values(value)
    if kind is not Kind.TOOL:
        for name in ("session_hash", "event_id"):
            if value.get(name) is not None:
                check_id(value[name])
        number = value.get("fn_index")
        is_named = number is None and kind is not Kind.RUN
        if not is_named and (type(number) is not int or number not in functions):
            raise Refused(404, "There is no such function.")
    return value


def _check_values(value: object) -> None:
    """Look at every value, without a call for each level: a body can be nested as deep as it is long."""
    left = [(value, 1)]
    while left:
        value, depth = left.pop()
        if depth > DEPTH:
            raise Refused(400, f"A request can be nested {DEPTH} deep here.")
        if isinstance(value, dict):
            if isinstance(value.get("path"), str) or value.get("_type") == FILE:
                raise Refused(400, "A request cannot name a file here: no function takes one.")
            left += ((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            left += ((inner, depth + 1) for inner in value)
        elif isinstance(value, int) and abs(value) > WHOLE_NUMBERS:
            raise Refused(400, "A number in the request is too large.")
