"""Mixed visitors of a server for as long as one likes, and whether what it holds stays the same."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median

import httpx
import psutil

from tests.helpers.attacker import TOOL_HEADERS, tool_call
from tests.helpers.server import Server
from tests.helpers.visitors import metric, settings_of

SMALL = {"width": 64, "height": 64, "steps": 1, "methods": ["baseline", "todo"]}
LOOK = 5.0  # seconds between two looks at the process
ROWS = 12  # of the table
MAY_GROW = {"MiB": 64.0, "files open": 20.0, "threads": 12.0}
"""By how much the median of the last quarter may be above that of the second one."""


@dataclass
class Visitors:
    """What they ask for, each time as somebody else, and how often."""

    address: str
    until: float
    asked: Counter[str] = field(default_factory=Counter)

    def run(self, seed: int) -> None:
        """One after another, until the time is over."""
        choose = random.Random(seed)
        kinds = (self.api, self.page, self.abandoned, self.never_heard, self.refused, self.tool, self.looks)
        while time.monotonic() < self.until:
            visit = choose.choice(kinds)
            address = ".".join(str(choose.randrange(1, 255)) for _ in range(4))
            headers = {"X-Forwarded-For": address}
            with httpx.Client(base_url=self.address, headers=headers, timeout=120) as http:
                with suppress(httpx.TransportError):
                    visit(http, choose)
                self.asked[visit.__name__] += 1

    def api(self, http: httpx.Client, choose: random.Random) -> None:
        """A whole answer of the API, with its pictures."""
        said = http.get(f"/gradio_api/call/compare/{_call(http, seed=choose.randrange(2**32))}").text
        for file in set(re.findall(r"/gradio_api/file=[^\"\\]+\.png", said)):
            http.get(file)

    def page(self, http: httpx.Client, choose: random.Random) -> None:
        """A run of a window that is closed at its end."""
        _read(http, _join(http, choose), lines=10_000)

    def abandoned(self, http: httpx.Client, choose: random.Random) -> None:
        """A window that is closed in between."""
        _read(http, _join(http, choose), lines=choose.randrange(1, 12))

    def never_heard(self, http: httpx.Client, choose: random.Random) -> None:
        """A call whose answer nobody wants."""
        _call(http, seed=choose.randrange(2**32))

    def refused(self, http: httpx.Client, choose: random.Random) -> None:
        """What is not allowed, in four ways."""
        for data in (
            settings_of(prompt=""),
            settings_of(width=10**30),
            ["a" * 300_000],
            [{"path": "/etc/passwd"}],
        ):
            answer = http.post("/gradio_api/call/compare", json={"data": data})
            if answer.status_code == 200:
                http.get(f"/gradio_api/call/compare/{answer.json()['event_id']}")

    def tool(self, http: httpx.Client, choose: random.Random) -> None:
        """A language model, which sometimes does not wait."""
        waits = choose.choice((0.5, 60.0))
        call = tool_call({**SMALL, "seed": choose.randrange(2**32)})
        http.post("/gradio_api/mcp/", content=call, headers=TOOL_HEADERS, timeout=waits)

    def looks(self, http: httpx.Client, choose: random.Random) -> None:
        """Somebody who looks at the page."""
        for path in ("/", "/config", "/gradio_api/info", "/theme.css", "/healthz", "/metrics"):
            http.get(path)


def _call(http: httpx.Client, **changes: object) -> str:
    data = settings_of(**{**SMALL, **changes})
    return http.post("/gradio_api/call/compare", json={"data": data}).json()["event_id"]


def _join(http: httpx.Client, choose: random.Random) -> str:
    functions = http.get("/config").json()["dependencies"]
    function = next(each["id"] for each in functions if each["api_name"] == "compare_on_page")
    session = f"{choose.randrange(16**12):x}"
    data = [None, *settings_of(**SMALL, seed=choose.randrange(2**32))]
    body = {"data": data, "fn_index": function, "session_hash": session, "trigger_id": None}
    http.post("/gradio_api/queue/join", json=body).raise_for_status()
    return session


def _read(http: httpx.Client, session: str, lines: int) -> None:
    with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for _, line in zip(range(lines), stream.iter_lines(), strict=False):
            if "close_stream" in line:
                break


def looks(server: Server, until: float) -> Iterator[dict[str, float]]:
    """What the process holds, every few seconds."""
    process, began = psutil.Process(server.process.pid), time.monotonic()
    while time.monotonic() < until:
        time.sleep(LOOK)
        files = [file.stat().st_size for file in server.temporary.glob("*/*.png")]
        yield {
            "minute": (time.monotonic() - began) / 60,
            "MiB": process.memory_info().rss / 2**20,
            "files open": process.num_fds(),
            "threads": process.num_threads(),
            "pictures": len(files),
            "MiB of them": sum(files) / 2**20,
            "KiB of log": server.output.stat().st_size / 2**10,
            "in line": metric(server, "todo_in_line"),
        }


def soak(server: Server, minutes: float, clients: int, say: Callable[[str], None]) -> list[str]:
    """Let visitors come for so many minutes, print a table, and say what grew."""
    until = time.monotonic() + 60 * minutes
    visitors = Visitors(server.address, until)
    threads = [threading.Thread(target=visitors.run, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    seen: list[dict[str, float]] = []
    every = max(60 * minutes / ROWS, LOOK)
    for look in looks(server, until):
        if not seen:
            say("| " + " | ".join(look) + " |")
            say("|" + "---:|" * len(look))
        if not seen or look["minute"] * 60 // every > seen[-1]["minute"] * 60 // every:
            say(
                "| "
                + " | ".join(f"{value:.1f}" if value % 1 else f"{value:.0f}" for value in look.values())
                + " |"
            )
        seen.append(look)
    for thread in threads:
        thread.join()
    say(
        f"{visitors.asked.total()} visits: "
        + ", ".join(f"{n} {kind}" for kind, n in visitors.asked.most_common())
    )
    quarter = len(seen) // 4
    return [
        f"{name} grew from {before:.0f} to {after:.0f}"
        for name, most in MAY_GROW.items()
        for before in [median(look[name] for look in seen[quarter : 2 * quarter])]
        for after in [median(look[name] for look in seen[-quarter:])]
        if after - before > most
    ]
