"""Who asks: one identity for the page, the API and the tools of language models (MCP)."""

from __future__ import annotations

import ipaddress
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from server.front_door.origins import RawHeaders, from_proxies
from server.front_door.refused import Refused

IPV6_NETWORK = 64  # bits that one visitor has to themselves
VISIT = "visit"  # in the scope of a request
PASS = "x-visit-pass"
# All that gradio's MCP needs of a message's headers. It copies what it gets to a request of its own.
OF_A_TOOL = (b"host", b"content-type", b"accept", b"user-agent", b"mcp-protocol-version", b"x-ip-token")


@dataclass(eq=False)
class Visit:
    """One request, as all who handle it see who made it."""

    visitor: str
    is_tool: bool = False
    """Whether a language model asks, through MCP."""
    gone: threading.Event = field(default_factory=threading.Event)
    """Set once nobody waits for the answer any more. Known of tools only: a run that was begun by any other
    request is answered in a stream, and that request is over at once."""


def visit_of(scope: Mapping[str, Any]) -> Visit:
    """Who made a request that has come through the front door."""
    return scope[VISIT]


def visitor_of(host: str | None, forwarded: str, proxies: int) -> str:
    """The address of the visitor; of an IPv6 address its network.

    Args:
        host: the address at the other end of the connection.
        forwarded: the header `X-Forwarded-For`.
        proxies: how many trusted proxies are in front of this server. Each adds to the header the address it
            was asked from; anybody can have written what stands before those.
    """
    host = from_proxies(forwarded, proxies) or host
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == 6:
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), IPV6_NETWORK), strict=False))
        address = address.ipv4_mapped
    return str(address)


class Visits:
    """Knows who asks, also where gradio asks itself for a tool.

    Gradio answers a tool by a request of its own to this server, with the headers of the tool's request. So
    the tool's is given a pass that nobody can guess, which the other one then shows.
    """

    def __init__(self, proxies: int) -> None:
        self._proxies = proxies
        self._tools: dict[str, Visit] = {}

    def of(self, scope: Scope) -> Visit:
        """Who makes a request. Raises `Refused` for a pass that is none, or one of somebody who has gone."""
        headers = Headers(scope=scope)
        if (shown := headers.get(PASS)) is not None:
            if (visit := self._tools.get(shown)) is None:
                raise Refused(403, "Whoever asked has gone.")
            return visit
        host = (scope.get("client") or (None,))[0]
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        return Visit(visitor_of(host, forwarded, self._proxies))

    @contextmanager
    def tool(self, visit: Visit, headers: RawHeaders, length: int) -> Iterator[RawHeaders]:
        """The headers of a tool's request, with its pass, which is good for the length of the block.

        Args:
            length: bytes of its body.
        """
        name = secrets.token_hex(16)
        self._tools[name] = visit
        visit.is_tool = True
        try:
            kept = [(header, value) for header, value in headers if header in OF_A_TOOL]
            yield [*kept, (b"content-length", str(length).encode()), (PASS.encode(), name.encode())]
        finally:
            visit.gone.set()
            del self._tools[name]
