"""Under which names the server may be asked, by which sites, and what it believes of proxies in front."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from server.front_door.refused import Refused

HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,255})(:(?P<port>[0-9]{1,5}))?")
SINGLE_RANGE = re.compile(r"bytes=([0-9]+-[0-9]*|-[0-9]+)")
RawHeaders = list[tuple[bytes, bytes]]
# What a proxy says of the visitor's request, and gradio's own way to say it. Gradio believes it of anybody.
SAID_BY_PROXIES = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-gradio-server")


def from_proxies(value: str, proxies: int) -> str | None:
    """What the outermost of the trusted proxies said in a header to which each of them adds a part.

    None if there are fewer parts than proxies: then the request did not come through all of them.
    """
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return parts[-proxies] if proxies and len(parts) >= proxies else None


class Origins:
    """The names of this server.

    Args:
        hosts: allowed host names, without ports; empty for any. They keep out a foreign site whose name
            points here, if the server listens on this machine alone.
        origins: allowed origins beside the server's own, as `https://example.org`.
        proxies: how many trusted proxies are in front.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Sequence[str] = (), proxies: int = 0) -> None:
        self._hosts, self._origins, self._proxies = frozenset(hosts), tuple(origins), proxies

    def check(self, headers: Headers) -> None:
        """Raise `Refused` for a strange name, another site, or what no browser would write."""
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(host)
        # Not starlette's TrustedHostMiddleware: it cannot say what the operator can do about it.
        if self._hosts and name not in self._hosts:
            raise Refused(403, "This server has another name. Its operator can allow this one with --origin.")
        if host and name is None:
            raise Refused(400, "The Host header is not the name of a server.")
        if origin is not None and not self._is_allowed(origin, host, self._forwarded_host(headers)):
            raise Refused(
                403, "Other sites may not use this server. Its operator can allow one with --origin."
            )
        if "range" in headers and not SINGLE_RANGE.fullmatch(headers["range"].replace(" ", "")):
            raise Refused(416, "A request can ask for one range of bytes.")

    def believed(self, scope: Scope) -> RawHeaders:
        """The headers of a request, without those that only a trusted proxy may have written."""
        kept = [(name, value) for name, value in scope["headers"] if name not in SAID_BY_PROXIES]
        if host := self._forwarded_host(Headers(scope=scope)):
            kept.append((b"x-forwarded-host", host.encode("latin-1")))
        return kept

    def own_address(self, scope: Scope) -> RawHeaders:
        """Headers with the address of this server, as its operator named it or as the system knows it."""
        if self._origins:
            own = urlsplit(self._origins[0])
            scheme, address = own.scheme, own.netloc
        else:
            host, port = scope["server"]
            name = f"[{host}]" if ":" in host else host
            scheme, address = "http", name if port is None else f"{name}:{port}"
        return [(b"host", address.encode()), (b"x-forwarded-proto", scheme.encode())]

    def _forwarded_host(self, headers: Headers) -> str | None:
        said = headers.get("x-forwarded-host", "")
        # Proxies overwrite it more often than they add to it.
        host = from_proxies(said, self._proxies) or (said.strip() if self._proxies else None)
        return host if host and _name(host) else None

    def _is_allowed(self, origin: str, *hosts: str | None) -> bool:
        scheme, _, address = origin.partition("://")
        port = {"http": ":80", "https": ":443"}.get(scheme, "")  # which a `Host` header can leave out
        own = {host.lower().removesuffix(port) for host in hosts if host}
        return origin in self._origins or (address != "" and address.lower().removesuffix(port) in own)


def _name(host: str) -> str | None:
    """A `Host` header without its port; None if it is none."""
    match = HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return None
    return match["name"].strip("[]").lower()
