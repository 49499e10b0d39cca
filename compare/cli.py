"""`python -m compare run`, and what the commands of bench and study share with it."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compare.errors import InvalidRequest
from compare.methods import known_methods, method_of, missing_methods
from compare.request import METHOD_SETTINGS, POOLINGS, Request, number

if TYPE_CHECKING:  # `--help` and typing errors need not wait for torch: commands import it when they run
    from compare.events import Event
    from compare.models.load import LoadedPipeline
    from compare.report import Comparison

STOPPED = 130
"""The exit code after Ctrl-C."""


def add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser("run", help="run the methods on one prompt, and save pictures and a report")
    run.set_defaults(command=_run)
    run.add_argument("prompt")
    run.add_argument("--negative", default="", metavar="PROMPT", help="what to keep away from")
    run.add_argument(
        "--size", type=size, metavar="PIXELS", help="512, or 768x512 for width x height; multiples of 8"
    )
    run.add_argument("--steps", type=number, help="denoising steps")
    run.add_argument("--guidance", type=number, metavar="SCALE", help="guidance scale; 1 and below is off")
    run.add_argument("--seed", type=number, default=0, help="of the starting noise")
    run.add_argument(
        "--factor", type=number, nargs="+", default=[2], metavar="F",
        help="of downsampling at the finest attention grid; more numbers are for the coarser ones",
    )  # fmt: skip
    run.add_argument(
        "--methods", nargs="+", default=Request.methods, metavar="METHOD",
        help="; ".join([f"some of {', '.join(method.id for method in known_methods())}", *missing_methods()]),
    )  # fmt: skip
    run.add_argument("--repeats", type=number, default=1, help="time each method this often, interleaved")
    _add_method_settings(run)
    run.add_argument("--out", type=Path, default=Path("result"), metavar="FOLDER", help="default: result/")
    add_model_options(run)


def _add_method_settings(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("settings of methods")
    for name, (metavar, kind, about) in {
        "until": ("SHARE", number, "ToDo and ToMe are on in this first part of the steps"),
        "pooling": ("KIND", str, f"what ToDo makes of a cell of tokens: {' or '.join(POOLINGS)}"),
        "forecast_share": ("SHARE", number, "the part of the steps that Forecast does not compute"),
        "tome_ratio": ("SHARE", number, "of the tokens that ToMe merges away; default: 1 - 1/stride²"),
        "tome_stride": ("N", number, "a side of ToMe's cells; default: the factor"),
        "tome_levels": ("N", number, "grids on which ToMe merges; default: those of the factor"),
        "tome_seed": ("SEED", number, "of ToMe's random choice"),
    }.items():
        default = getattr(Request, name)
        said = about if default is None else f"{about}; default: {default}"
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, type=kind, default=default, metavar=metavar, help=said)


def add_model_options(command: argparse.ArgumentParser) -> None:
    """The options that `load_model` reads."""
    command.add_argument(
        "--model",
        help="a folder, a .safetensors file or owner/name[@revision] on the Hub (default: by device)",
    )
    command.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    command.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], help="default: by device")
    command.add_argument("--attention", default="sdpa", help="sdpa (default), or xformers if it runs")


def load_model(options: argparse.Namespace) -> LoadedPipeline:
    from compare.models.load import load_pipeline
    from compare.models.placement import DTYPES

    return load_pipeline(options.model, options.device, DTYPES.get(options.dtype), options.attention)


def size(text: str) -> tuple[int | float | str, int | float | str]:
    """Width and height from "512" or "768x512", checked by the request too."""
    width, _, height = text.lower().partition("x")
    return number(width), number(height or width)


def make_folder(folder: Path) -> None:
    """Make the folder of the result before minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be a folder for the result: {error.strerror}.") from error


def print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


@contextmanager
def stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the run ends in order; the second interrupts as usual."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, usual)

    usual = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)


def _run(options: argparse.Namespace) -> int:
    from compare.experiment.worker import run
    from compare.files import save_comparison
    from compare.sheet import scores_of, times_of

    loaded = load_model(options)
    own = loaded.defaults
    width, height = options.size or (own.width, own.height)
    request = loaded.request(
        options.prompt,
        negative_prompt=options.negative,
        width=width,
        height=height,
        steps=own.steps if options.steps is None else options.steps,
        guidance_scale=own.guidance_scale if options.guidance is None else options.guidance,
        seed=options.seed,
        factor=options.factor[0] if len(options.factor) == 1 else tuple(options.factor),
        methods=tuple(options.methods),
        repeats=options.repeats,
        **{name: getattr(options, name) for name in METHOD_SETTINGS},
    )
    make_folder(options.out)
    info = loaded.info
    print(f"{info.name} on {info.device_name}, {info.dtype}, attention by {info.attention}", file=sys.stderr)
    with stopped_by_ctrl_c() as stop:
        comparison = _show(run(loaded, request, stop))
    if comparison is None:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    for result in comparison.results:
        print(f"{result.label:<20} {times_of(result):<48} {scores_of(result)}".rstrip())
    print(f"Saved in {save_comparison(comparison, options.out)}/")
    return 0


def _show(events: Iterator[Event]) -> Comparison | None:
    """One progress bar per run of a method. The comparison, or None if it was stopped."""
    from tqdm import tqdm

    from compare.events import Finished, MethodDone, MethodStarted, Started, StepDone

    bar: tqdm | None = None
    shown: Sequence[str] = ()
    try:
        for event in events:
            match event:
                case Started(notes=shown):
                    print_notes(shown)
                case MethodStarted():
                    name = method_of(event.method).label
                    if event.repeats > 1:
                        name += f" ({event.repeat} of {event.repeats})"
                    bar = tqdm(total=event.steps, desc=f"{name:<20}", unit="step")
                case StepDone():
                    bar.total = event.steps
                    bar.update(event.step - bar.n)
                case MethodDone(result=result):
                    bar.set_postfix_str(f"{result.times.denoising[-1]:.2f} s in the loop")
                    bar.close()
                case Finished(comparison=comparison):
                    print_notes(note for note in comparison.notes if note not in shown)
                    return comparison
    finally:
        if bar is not None:
            bar.close()
    return None
