"""Who asks, and how often they may."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

from server.limits import OverLimit

MINUTE = 60.0  # seconds
REMEMBERED = 10_000  # visitors; beyond, those who asked longest ago are forgotten
IPV6_NETWORK = 64  # bits that one visitor has to themselves


def visitor_of(host: str | None, headers: Mapping[str, str], proxies: int) -> str:
    """The address of whoever asks, an IPv6 one as its network.

    Args:
        host: the address at the other end of the connection.
        headers: of the HTTP request.
        proxies: how many trusted proxies are in front of this server. Each adds to `X-Forwarded-For` the
            address it was asked from; what stands before those anybody may have written.
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


class Turnstile:
    """Lets each visitor through so many times in any minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._lock = threading.Lock()
        self._visits: OrderedDict[str, deque[float]] = OrderedDict()

    def pass_through(self, visitor: str) -> None:
        """Count a visit. Raises `OverLimit`, and counts nothing, where it would be one too many."""
        now = self._clock()
        with self._lock:
            visits = self._visits.setdefault(visitor, deque())
            while visits and now - visits[0] >= MINUTE:
                visits.popleft()
            if len(visits) >= self._per_minute:
                wait = MINUTE - (now - visits[0])
                raise OverLimit(
                    f"This server takes {self._per_minute} requests a minute from each visitor: "
                    f"try again in {wait:.0f} seconds."
                )
            visits.append(now)
            self._visits.move_to_end(visitor)
            while len(self._visits) > REMEMBERED:
                self._visits.popitem(last=False)
