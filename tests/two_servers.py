"""What a visitor waits for, of two servers that run, such as this version and one of before:

    python -m tests.two_servers http://127.0.0.1:7872 http://127.0.0.1:7871 --rounds 12

Only an idle machine says anything. docs/serving.md has the result.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from gradio_client import Client

from tests.disturbed import first_byte, handler

ANSWER = {"width": 256, "height": 256, "steps": 4, "methods": ["baseline", "tome", "todo", "todo-rotating"]}


def in_turns(measure: Callable[[str], float], both: Sequence[str], turns: int = 4) -> str:
    """Medians of what is measured of two servers in turns, in ms; the first turn is a warm-up."""
    found = [[1000 * measure(address) for address in both] for _ in range(turns + 1)]
    here, there = (median(times[1:]) for times in zip(*found, strict=True))
    return f"{here:.0f} ms against {there:.0f} ms"


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
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    both = (options.address, options.other)
    print(f"First byte of the page: {in_turns(first_byte, both)}")
    print(f"The script of another method: {in_turns(partial(handler, shows='script'), both)}")
    print(whole_answers(*both, options.rounds))


if __name__ == "__main__":
    main()
