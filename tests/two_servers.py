"""What a visitor waits for, of two servers that run, such as this version and one of before:

    python -m tests.two_servers http://127.0.0.1:7872 http://127.0.0.1:7871 --rounds 15

Only an idle machine says anything. docs/serving.md has the result.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from gradio_client import Client

from tests.disturbed import first_byte, handler

ANSWER = {"width": 256, "height": 256, "steps": 4, "methods": ["baseline", "tome", "todo", "todo-rotating"]}


def whole_answers(address: str, other: str, rounds: int) -> str:
    """Seconds until a visitor has the answer and its pictures, of two servers in turns."""
    clients = [Client(each, verbose=False) for each in (address, other)]
    took: tuple[list[float], list[float]] = ([], [])
    for seed in range(rounds + 1):
        for which in (0, 1) if seed % 2 else (1, 0):
            start = time.perf_counter()
            clients[which].predict("a fox on navy", **ANSWER, seed=seed, api_name="/compare")
            took[which].append(time.perf_counter() - start)
    here, there = (times[1:] for times in took)  # the first is a warm-up
    ratios = sorted(one / two for one, two in zip(here, there, strict=True))
    return (
        f"A whole answer: {median(here):.2f} s against {median(there):.2f} s, {median(ratios):.3f}x in the "
        f"median of {rounds} pairs ({ratios[0]:.2f}x to {ratios[-1]:.2f}x)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What a visitor waits for, of two servers.")
    parser.add_argument("address", help="of the one")
    parser.add_argument("other", metavar="against", help="of the other")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    both = (options.address, options.other)
    page = [1000 * first_byte(address) for address in both]
    print(f"First byte of the page: {page[0]:.0f} ms against {page[1]:.0f} ms")
    script = [1000 * handler(address, shows="script") for address in both]
    print(f"The script of another method: {script[0]:.0f} ms against {script[1]:.0f} ms")
    print(whole_answers(*both, options.rounds))


if __name__ == "__main__":
    main()
