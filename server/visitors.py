"""Which visitor a request is from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

IPV6_NETWORK = 64  # bits that one visitor has to themselves


def visitor_of(host: str | None, headers: Mapping[str, str], proxies: int) -> str:
    """The address of the visitor; of an IPv6 address its network.

    Args:
        host: the address at the other end of the connection.
        headers: of the HTTP request.
        proxies: how many trusted proxies are in front of this server. Each adds to `X-Forwarded-For` the
            address it was asked from; anybody can have written what stands before those.
    """
    forwarded = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
    if proxies and len(forwarded) >= proxies:
        host = forwarded[-proxies]
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False))
    return str(address)
