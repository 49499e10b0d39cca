"""How much a run is slowed by what the server does beside it:

    python -m tests.disturbed                                 # a server of its own
    python -m tests.disturbed --address http://127.0.0.1:7860 # of another version, say

One comparison after another, in turns alone and beside each kind of visitor. Medians over the rounds: seconds
of the denoising loop beside them over seconds alone, and the speed-up that the page would show. Only an idle
machine says anything. docs/serving.md has the result.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from statistics import median

import httpx
from gradio_client import Client

from tests.helpers.server import serving

METHODS = ("baseline", "todo")
RUN = {"width": 512, "height": 512, "steps": 4, "methods": list(METHODS)}
PAUSE = 0.25  # seconds between two calls of a handler: one visitor has so many
EACH = 4.0  # times a second that one thread keeps up with

Visit = Callable[[httpx.Client], object]


def open_the_page(http: httpx.Client) -> None:
    http.get("/")
    http.get("/config")


def ask_for_too_much(http: httpx.Client) -> None:
    http.post("/gradio_api/call/compare", json={"data": ["", 10**30]})


def largest_script(address: str) -> str:
    """The path of the largest script that the page names."""
    with httpx.Client(base_url=address, timeout=30) as http:
        paths = sorted(set(re.findall(r"assets/[\w.-]+\.js", http.get("/").text)))
        return "/" + max(paths, key=lambda path: len(http.get(f"/{path}").content))


def kinds(script: str) -> dict[str, tuple[Visit, float]]:
    """What visitors do, and how often a second."""
    return {
        "2 visitors a second who open the page": (open_the_page, 2),
        "31 visitors a second who open the page": (open_the_page, 31),
        "4 compressed scripts a second": (
            lambda http: http.get(script, headers={"Accept-Encoding": "gzip"}), 4,
        ),
        "4 refused requests a second": (ask_for_too_much, 4),
    }  # fmt: skip


@contextmanager
def beside(address: str, visit: Visit, per_second: float) -> Iterator[list[float]]:
    """Visit so often for the length of a `with` block. Yields the times of the visits, as they end."""
    over, ended = threading.Event(), []
    threads = max(1, round(per_second / EACH))

    def keep_on() -> None:
        with httpx.Client(base_url=address, timeout=30) as http:
            while not over.is_set():
                start = time.perf_counter()
                with suppress(httpx.HTTPError):
                    visit(http)
                ended.append(time.perf_counter())
                over.wait(max(0.0, threads / per_second - (ended[-1] - start)))

    workers = [threading.Thread(target=keep_on, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield ended
    finally:
        over.set()
        for worker in workers:
            worker.join()


def seconds_of(client: Client, seed: int) -> dict[str, float]:
    """Seconds of a run, by method."""
    _, report = client.predict("a fox on navy", **RUN, seed=seed, api_name="/compare")
    return {result["method"]: result["seconds"] for result in report["results"]}


def table(address: str, rounds: int) -> str:
    """As Markdown."""
    client = Client(address, verbose=False)
    seconds_of(client, 0)  # what is loaded late is loaded now
    visits = kinds(largest_script(address))
    alone: list[dict[str, float]] = []
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in visits}
    rates: dict[str, list[float]] = {kind: [] for kind in visits}
    for seed in range(1, rounds + 1):
        alone.append(seconds_of(client, seed))
        for kind, (visit, per_second) in visits.items():
            start = time.perf_counter()
            with beside(address, visit, per_second) as ended:
                found[kind].append(seconds_of(client, seed))
            rates[kind].append(len(ended) / (time.perf_counter() - start))
    lines = [
        "| beside the run | came a second | Baseline takes | ToDo takes | ToDo's speed-up |",
        "|---|---|---|---|---|",
        _line("nobody", 0, alone, alone),
        *(_line(kind, median(rates[kind]), runs, alone) for kind, runs in found.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(kind: str, rate: float, runs: list[dict[str, float]], alone: list[dict[str, float]]) -> str:
    slower = [
        median(run[method] / quiet[method] for run, quiet in zip(runs, alone, strict=True))
        for method in METHODS
    ]
    baseline, method = METHODS
    speedup = median(run[baseline] / run[method] for run in runs)
    return f"| {kind} | {rate:.1f} | {slower[0]:.2f}× | {slower[1]:.2f}× | {speedup:.2f}× |"


def first_byte(address: str, times: int = 30) -> float:
    """Seconds until the page begins to arrive, median."""
    took = []
    with httpx.Client(base_url=address, timeout=30) as http:
        for _ in range(times):
            start = time.perf_counter()
            with http.stream("GET", "/"):
                took.append(time.perf_counter() - start)
    return median(took)


def handler(address: str, shows: str = "expectation", times: int = 30) -> float:
    """Seconds until the page has made anew what it shows in an element, median. By default what to expect,
    which every change of a field asks for. As a browser asks: by gradio's queue, unless it is left out."""
    took = []
    with httpx.Client(base_url=address, timeout=30) as http:
        config = http.get("/config").json()
        components = {component["id"]: component["props"] for component in config["components"]}
        (shown,) = (id for id, props in components.items() if props.get("elem_id") == shows)
        asked = min(
            (one for one in config["dependencies"] if one["backend_fn"] and shown in one["outputs"]),
            key=lambda one: len(one["outputs"]),
        )
        body = {"data": [components[id].get("value") for id in asked["inputs"]], "fn_index": asked["id"]}
        for number in range(times):
            session = f"disturbed{number}"
            way = "run/predict" if asked["queue"] is False else "queue/join"
            start = time.perf_counter()
            http.post(f"/gradio_api/{way}", json={**body, "session_hash": session}).raise_for_status()
            if way == "queue/join":
                _wait_for_answer(http, session)
            took.append(time.perf_counter() - start)
            time.sleep(PAUSE)
    return median(took)


def _wait_for_answer(http: httpx.Client, session: str) -> None:
    with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as events:
        assert any('"success":true' in event.replace(" ", "") for event in events.iter_lines())


def handler_beside_a_run(address: str) -> float:
    """The same while a run is on, which takes longer than all of them."""
    client = Client(address, verbose=False)
    run = client.submit("a fox on navy", **{**RUN, "steps": 20}, api_name="/compare")
    time.sleep(1)
    took = handler(address)
    run.cancel()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How much a run is slowed by what the server does beside it."
    )
    parser.add_argument("--address", help="of a server that runs (default: one of its own)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = serving(Path(folder), "--max-per-minute", "600") if options.address is None else nullcontext()
        with own as server:
            address = options.address or server.address
            print(f"First byte of the page: {1000 * first_byte(address):.0f} ms")
            print(f"What to expect of a run, said by the page: {1000 * handler(address):.0f} ms")
            print(f"The same beside a run: {1000 * handler_beside_a_run(address):.0f} ms\n")
            print(table(address, options.rounds), end="")


if __name__ == "__main__":
    main()
