"""Many clients at once: every picture has to be the one that its request gives alone, bit for bit.

    python -m tests.load                            # 200 requests from 20 clients, a server of its own
    python -m tests.load --requests 24 --clients 6 --different 6
    python -m tests.load --minutes 60               # all kinds of visitors, and what the server holds

Compares on the CPU, where a request gives the same picture each time with the same number of threads.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import psutil
from gradio_client import Client
from PIL import Image

from compare import LoadedPipeline, Request, load_pipeline, run
from tests.helpers.server import MODEL, serving
from tests.helpers.soak import soak

SIDES = (128, 136, 144, 160, 176, 192)  # pixels
METHODS = ("baseline", "tome", "todo", "todo-rotating")
PROMPTS = ("a fox on navy", "a red apple on mint", "a whale", "two keys on white", "a rocket on black")
FLAT = 64 * 2**20  # bytes by which a server may grow in hundreds of requests
VISITORS = count()
LOOKS = 4  # at a server that has grown by more: what its allocator holds goes up and down, and a leak stays


@dataclass(frozen=True)
class Answer:
    """What one request was answered."""

    request: Request
    reported: Request
    """The request that the report is about."""
    pictures: dict[str, bytes]
    """Pixels by method."""
    prompts: frozenset[str]
    """What the files themselves say."""


def mixed_requests(number: int, different: int, seed: int = 0) -> list[Request]:
    """`number` small requests of all kinds in random order, `different` of them different."""
    choose = random.Random(seed)
    kinds = [
        Request(
            prompt=choose.choice(PROMPTS),
            width=choose.choice(SIDES),
            height=choose.choice(SIDES),
            steps=2,
            guidance_scale=choose.choice((1.0, 4.0)),
            seed=kind,  # so that no two are the same
            factor=choose.choice((2, 3, 4)),
            methods=tuple(choose.sample(METHODS, choose.choice((1, 2)))),
        )
        for kind in range(different)
    ]
    requests = [kinds[index % different] for index in range(number)]
    choose.shuffle(requests)
    return requests


def ask(address: str, requests: Sequence[Request]) -> list[Answer]:
    """One client that sends all its requests before it waits for the first answer."""
    with tempfile.TemporaryDirectory() as folder:
        # Behind a proxy, which the server is told there is, each client is a visitor.
        visitor = {"X-Forwarded-For": f"10.0.0.{next(VISITORS) % 250}"}
        client = Client(address, verbose=False, download_files=folder, headers=visitor)
        jobs = [client.submit(*asdict(request).values(), api_name="/compare") for request in requests]
        return [
            _answer(request, *job.result(timeout=3600)) for request, job in zip(requests, jobs, strict=True)
        ]


def ask_all(address: str, requests: Sequence[Request], clients: int) -> list[Answer]:
    """Share the requests out to clients, which send them all at once."""
    with ThreadPoolExecutor(clients) as pool:
        shares = [requests[first::clients] for first in range(clients)]
        return [answer for answers in pool.map(ask, [address] * clients, shares) for answer in answers]


def alone(loaded: LoadedPipeline, request: Request) -> dict[str, bytes]:
    """The pixels that a request gives when there is no other, by method."""
    *_, finished = run(loaded, request)
    return {result.method: result.image.tobytes() for result in finished.comparison.results}


def what_is_wrong(
    loaded: LoadedPipeline, asked: Sequence[Request], answers: Sequence[Answer]
) -> Iterator[str]:
    """A sentence for each answer that is lost, another's, or not what its request gives alone."""
    if len(answers) != len(asked):
        yield f"{len(asked) - len(answers)} of {len(asked)} were lost"
    right = {request: alone(loaded, request) for request in dict.fromkeys(asked)}
    pictures = [pixels for kinds in right.values() for pixels in kinds.values()]
    if len(set(pictures)) < len(pictures):
        yield "two requests give the same picture, so that a swap would not show"
    for answer in answers:
        if answer.reported != answer.request or answer.prompts != {answer.request.prompt}:
            yield f"the answer to {answer.request} is of {answer.reported}, {set(answer.prompts)}"
        elif answer.pictures != right[answer.request]:
            yield f"{answer.request} gives other pictures alone"


def _answer(request: Request, gallery: list, report: dict) -> Answer:
    pictures, prompts = {}, set()
    for entry, result in zip(gallery, report["results"], strict=True):
        with Image.open(entry["image"]) as picture:
            prompts.add(picture.text["prompt"])
            pictures[result["method"]] = picture.tobytes()
    return Answer(request, Request(**report["request"]), pictures, frozenset(prompts))


def _soak(minutes: float, clients: int) -> int:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), "--proxies", "1") as server:
        grew = soak(server, minutes, clients, lambda line: print(line, flush=True))
        lines = server.output.read_text().splitlines()
    after = lines[next(n for n, line in enumerate(lines) if line.startswith("Running on")) + 1 :]
    if no_json := [line for line in after if not line.startswith('{"time": ')]:
        grew.append(f"{len(no_json)} lines of the log are no JSON, as {no_json[0][:80]!r}")
    for sentence in grew:
        print(f"wrong: {sentence}", file=sys.stderr)
    return 1 if grew else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a server, load it, and say how it went. Returns the exit code: 0 if all was right."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--different", type=int, default=50, help="of the requests; the others repeat them")
    parser.add_argument("--minutes", type=float, help="let visitors of all kinds come for so long instead")
    options = parser.parse_args(arguments)
    if options.minutes:
        return _soak(options.minutes, options.clients)
    asked = mixed_requests(options.requests, options.different)
    most = str(min(options.requests + 1, 1000))
    many = ("--max-in-line", most, "--max-per-visitor", most, "--max-per-minute", "100000", "--proxies", "1")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), *many) as server:
        process = psutil.Process(server.process.pid)
        # Whatever is made once, above all kernels for each size, is made before the server is weighed.
        different = list(dict.fromkeys(asked))
        ask_all(server.address, different, options.clients)
        before, began = process.memory_info().rss, time.monotonic()
        answers = ask_all(server.address, asked, options.clients)
        took, grown = time.monotonic() - began, process.memory_info().rss - before
        for _ in range(LOOKS):
            if grown <= FLAT:
                break
            ask_all(server.address, different, options.clients)
            grown = min(grown, process.memory_info().rss - before)
    wrong = list(what_is_wrong(load_pipeline(*MODEL[1::2]), asked, answers))
    if grown > FLAT:
        wrong.append(f"the server grew by {grown / 2**20:.0f} MiB")
    for sentence in wrong:
        print(f"wrong: {sentence}", file=sys.stderr)
    pictures = sum(len(answer.pictures) for answer in answers)
    print(
        f"{len(answers)} of {len(asked)} requests from {options.clients} clients answered in {took:.0f} s, "
        f"{pictures} pictures, {len(wrong)} wrong; the server held {before / 2**20:.0f} MiB and grew by "
        f"{grown / 2**20:.0f} MiB"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
