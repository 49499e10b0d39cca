"""The command line. It reads the same events as the page."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from compare.bench.request import BENCH_METHODS, DEFAULT_METHODS
from compare.errors import InvalidRequest
from compare.methods import METHODS, method_of

if TYPE_CHECKING:
    from tqdm import tqdm

    from compare.bench.timing import Turn
    from compare.events import Event
    from compare.models.load import LoadedPipeline
    from compare.report import Comparison

BAD_INPUT, STOPPED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 2 for an error told in one sentence, 130 where stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "compare", *arguments])
    # Imported after parsing: `--help` and typing errors need not wait for torch.
    from compare.errors import RunFailed
    from compare.models.load import ModelNotLoaded

    try:
        return options.command(options)
    except (InvalidRequest, ModelNotLoaded, RunFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compare", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run the methods on one prompt, and save pictures and a report")
    run.set_defaults(command=_run)
    run.add_argument("prompt")
    run.add_argument("--negative", default="", metavar="PROMPT", help="what to keep away from")
    run.add_argument("--size", metavar="PIXELS", help="512, or 768x512 for width x height; multiples of 8")
    run.add_argument("--steps", type=_number, help="denoising steps")
    run.add_argument("--guidance", type=_number, metavar="SCALE", help="guidance scale; 1 and below is off")
    run.add_argument("--seed", type=_number, default=0, help="of the starting noise")
    run.add_argument(
        "--factor", type=_number, nargs="+", default=[2], metavar="F",
        help="of downsampling at the finest attention grid; more numbers are for the coarser ones",
    )  # fmt: skip
    run.add_argument(
        "--methods", nargs="+", default=["baseline", "tome", "todo"], metavar="METHOD",
        help=f"some of {', '.join(method.id for method in METHODS)}",
    )  # fmt: skip
    run.add_argument("--repeats", type=_number, default=1, help="time each method this often, in turns")
    run.add_argument("--out", type=Path, default=Path("result"), metavar="FOLDER", help="default: result/")
    _add_model_options(run)
    _add_bench(commands)
    _add_profile(commands)
    _add_sweep(commands)
    _add_paired(commands)
    return parser


def _add_bench(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser(
        "bench", help="time the methods and their measured limits over sizes and factors"
    )
    bench.set_defaults(command=_bench)
    bench.add_argument(
        "--sizes", nargs="+", metavar="PIXELS", help="such as 768 1024x768 (default: the model's)"
    )
    bench.add_argument(
        "--factors", type=_number, nargs="+", default=[2, 3, 4], metavar="F", help="default: 2 3 4"
    )
    bench.add_argument(
        "--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD",
        help=f"some of {', '.join(method.id for method in BENCH_METHODS)}; Baseline and limits are timed too",
    )  # fmt: skip
    bench.add_argument("--rounds", type=_number, default=7, help="time everything this often, in turns")
    bench.add_argument("--steps", type=_number, default=10, help="of a whole run; 0 times UNet calls only")
    _add_batch(bench)
    bench.add_argument("--compile", action="store_true", help="compile the UNet's transformer blocks")
    bench.add_argument("--out", type=Path, default=Path("bench"), metavar="FOLDER", help="default: bench/")
    _add_model_options(bench)
    _add_architecture(bench)


def _add_profile(commands: argparse._SubParsersAction) -> None:
    profile = commands.add_parser("profile", help="say where the time of a step goes, part by part")
    profile.set_defaults(command=_profile)
    profile.add_argument("--size", metavar="PIXELS", help="such as 768 or 1024x768 (default: the model's)")
    profile.add_argument("--factor", type=_number, default=2, metavar="F", help="default: 2")
    profile.add_argument(
        "--method",
        default="todo",
        help="one of the bench's, beside Baseline and its limit (default: todo)",
    )
    profile.add_argument("--rounds", type=_number, default=5, help="time everything this often, in turns")
    _add_batch(profile)
    _add_model_options(profile)
    _add_architecture(profile)


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    sweep = commands.add_parser("sweep", help="score many comparisons, and draw fidelity over speed-up")
    sweep.set_defaults(command=_sweep)
    sweep.add_argument("file", type=Path, metavar="SWEEP.toml", help="what to run; docs/sweep.toml is one")
    sweep.add_argument(
        "--out", type=Path, default=Path("sweep"), metavar="FOLDER",
        help="with rows in it from before, the sweep goes on (default: sweep/)",
    )  # fmt: skip
    sweep.add_argument(
        "--scheduler", metavar="CLASS", help="of diffusers, instead of the model's, with the same settings"
    )
    _add_model_options(sweep)


def _add_paired(commands: argparse._SubParsersAction) -> None:
    paired = commands.add_parser("paired", help="how much methods of a sweep differ, pair by pair")
    paired.set_defaults(command=_paired)
    paired.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="what `compare sweep --out` wrote"
    )
    paired.add_argument("--methods", nargs="+", required=True, metavar="METHOD")
    paired.add_argument("--against", default="todo", metavar="METHOD", help="default: todo")
    paired.add_argument("--plot", type=Path, metavar="FILE", help="draw it too, such as paired.png")


def _add_batch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--batch", type=_number, default=2,
        help="rows of the UNet's batch; an even number is guided (default: 2, one picture)",
    )  # fmt: skip


def _add_architecture(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--architecture", metavar="NAME",
        help="instead of --model: sdxl, sd15 or mini (the bundled model's), without a download",
    )  # fmt: skip
    command.add_argument(
        "--random-weights", action="store_true", help="with --architecture, whose weights are always random"
    )


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        help="a folder, a .safetensors file or owner/name[@revision] on the Hub (default: by device)",
    )
    command.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    command.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], help="default: by device")
    command.add_argument("--attention", default="sdpa", help="sdpa (default), or xformers where it runs")


def _run(options: argparse.Namespace) -> int:
    from compare.experiment.worker import run
    from compare.models.load import load_pipeline
    from compare.models.placement import DTYPES

    loaded = load_pipeline(
        options.model, options.device, DTYPES.get(options.dtype), attention=options.attention
    )
    width, height = _size(options.size) if options.size else (loaded.defaults.width, loaded.defaults.height)
    given = {"steps": options.steps, "guidance_scale": options.guidance}
    request = loaded.request(
        options.prompt,
        negative_prompt=options.negative,
        width=width,
        height=height,
        seed=options.seed,
        factor=options.factor[0] if len(options.factor) == 1 else tuple(options.factor),
        methods=tuple(options.methods),
        repeats=options.repeats,
        **{name: value for name, value in given.items() if value is not None},
    )
    _make_folder(options.out)
    info = loaded.info
    print(f"{info.name} on {info.device_name}, {info.dtype}, attention by {info.attention}", file=sys.stderr)
    with _stopped_by_ctrl_c() as stop:
        comparison = _show(run(loaded, request, stop))
    if comparison is None:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    from compare.files import save_comparison

    _print_table(comparison)
    print(
        f"Saved in {save_comparison(comparison, options.out)}{'' if str(options.out).endswith('/') else '/'}"
    )
    return 0


def _bench(options: argparse.Namespace) -> int:
    from compare.bench.report import report_of
    from compare.bench.request import BenchRequest
    from compare.bench.timing import bench

    loaded = _load_for_bench(options)
    given = [_size(size) for size in options.sizes or ()]
    request = BenchRequest(
        sizes=tuple(given or [(loaded.defaults.width, loaded.defaults.height)]),
        factors=tuple(options.factors),
        methods=tuple(options.methods),
        rounds=options.rounds,
        steps=options.steps,
        batch=options.batch,
        compiled=options.compile,
    )
    _make_folder(options.out)
    rows = ()
    for of_a_size in bench(loaded, request, _tell_turn):
        rows += of_a_size
        report = report_of(loaded, request, rows, options.command_line)
        report.save(options.out)  # at every size: what is done stays, whatever happens next
    print(report.markdown())
    print(f"Saved in {options.out}", file=sys.stderr)
    return 0


def _profile(options: argparse.Namespace) -> int:
    from compare.bench.profile import breakdown, breakdown_table
    from compare.bench.request import BenchRequest
    from compare.bench.variants import Variant, variants
    from compare.errors import OutOfMemory
    from compare.experiment.memory import is_out_of_memory

    if options.method == "baseline":
        raise InvalidRequest("Baseline is always in the profile: choose the method to set beside it.")
    loaded = _load_for_bench(options)
    size = _size(options.size) if options.size else (loaded.defaults.width, loaded.defaults.height)
    request = BenchRequest(
        sizes=(size,), factors=(options.factor,), methods=(options.method,),
        rounds=options.rounds, batch=options.batch,
    )  # fmt: skip
    info, method = loaded.info, Variant(options.method, options.factor)
    shown = variants(request.methods, request.factors)
    try:
        parts = breakdown(loaded, shown, *size, request.batch, request.rounds)
    except ValueError as error:  # what the method cannot do at this size
        raise InvalidRequest(str(error)) from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"{size[0]}×{size[1]} does not fit into memory: try a smaller --size.") from error
    print(f"{info.name} on {info.device_name}, {info.dtype}, {size[0]}×{size[1]}\n")
    print(breakdown_table(parts, method), end="")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from compare.errors import OutOfMemory
    from compare.models.load import load_pipeline, with_scheduler
    from compare.models.placement import DTYPES
    from compare.study.curve import markdown, plot, points
    from compare.study.row_folder import RowFolder
    from compare.study.rows import Row, Setup
    from compare.study.scorers import Referee
    from compare.study.sweep import Sweep, sweep

    asked = Sweep.load(options.file)
    loaded = load_pipeline(
        options.model, options.device, DTYPES.get(options.dtype), attention=options.attention
    )
    if options.scheduler:
        loaded = with_scheduler(loaded, options.scheduler)
    requests = asked.requests(loaded)
    referee = Referee.of(loaded)
    _print_notes(referee.missing)
    did_not_fit = 0
    with RowFolder(options.out, Setup.of(loaded, referee), Row) as folder, _stopped_by_ctrl_c() as stop:
        bar = tqdm(sweep(loaded, requests, folder, referee, stop), total=len(requests), unit="comparison")
        for done in bar:
            if isinstance(done, OutOfMemory):
                did_not_fit += 1
                bar.write(f"note: {done}", file=sys.stderr)
        found = points(folder.rows)
    if found:
        (options.out / "table.md").write_text(markdown(found), encoding="utf-8")
        plot(found, options.out / "curve.png")
        print(markdown(found), end="")
        print(f"Saved in {options.out}", file=sys.stderr)
    if stop.is_set():
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED
    if did_not_fit:
        raise OutOfMemory(f"{did_not_fit} of {len(requests)} comparisons did not fit into memory.")
    return 0


def _paired(options: argparse.Namespace) -> int:
    from compare.study.grid_variants import studied_methods
    from compare.study.paired import contrasts, markdown
    from compare.study.paired_plot import plot
    from compare.study.row_folder import read_rows
    from compare.study.rows import Row

    known = studied_methods()
    methods, against = (
        [method_of(id, known).id for id in options.methods],
        method_of(options.against, known).id,
    )
    found = []
    for folder in options.folders:
        of_folder = contrasts(folder.name, read_rows(folder, Row), methods, against)
        if not of_folder:
            raise InvalidRequest(
                f"{folder} has no comparison of {against} with {' or '.join(methods)} in it."
            )
        found += of_folder
    print(markdown(found), end="")
    if options.plot:
        _make_folder(options.plot.parent)
        plot(found, options.plot)
    return 0


def _load_for_bench(options: argparse.Namespace) -> LoadedPipeline:
    from compare.models.load import load_pipeline
    from compare.models.placement import DTYPES
    from compare.models.random_weights import random_pipeline

    if options.architecture and options.model:
        raise InvalidRequest("--model and --architecture exclude each other: give one of them.")
    if options.random_weights and not options.architecture:
        raise InvalidRequest("--random-weights goes with --architecture; a --model has its own weights.")
    load = random_pipeline if options.architecture else load_pipeline
    return load(
        options.architecture or options.model, options.device, DTYPES.get(options.dtype), options.attention
    )


def _tell_turn(turn: Turn) -> None:
    print(f"{turn.width}×{turn.height}, round {turn.round}: {turn.variant}", file=sys.stderr)


def _make_folder(folder: Path) -> None:
    """Now: not after minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be a folder for the result: {error.strerror}.") from error


def _show(events: Iterator[Event]) -> Comparison | None:
    """One progress bar per run of a method. The comparison, or None where it was stopped."""
    from compare.events import Finished, MethodDone, MethodStarted, Started, StepDone, Stopped, Waiting

    bar: tqdm | None = None
    told: Sequence[str] = ()
    try:
        for event in events:
            match event:
                case Waiting():
                    pass
                case Started(notes=notes):
                    told = notes
                    _print_notes(told)
                case MethodStarted():
                    bar = _bar(event)
                case StepDone():
                    bar.total = event.steps
                    bar.update(event.step - bar.n)
                case MethodDone(result=result):
                    bar.set_postfix_str(f"{result.times.denoising[-1]:.2f} s in the loop")
                    bar.close()
                case Finished(comparison=comparison):
                    _print_notes([note for note in comparison.notes if note not in told])
                    return comparison
                case Stopped():
                    return None
    finally:
        if bar is not None:
            bar.close()
    return None


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the run ends in order; the second interrupts as usual."""
    stop = threading.Event()

    def ask(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, usual)

    usual = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)


def _bar(started: object) -> tqdm:
    from tqdm import tqdm

    name = method_of(started.method).label
    if started.repeats > 1:
        name += f" ({started.repeat} of {started.repeats})"
    return tqdm(total=started.steps, desc=f"{name:<20}", unit="step")


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _print_table(comparison: Comparison) -> None:
    from compare.sheet import scores_of, times_of

    for result in comparison.results:
        print(f"{result.label:<20} {times_of(result):<48} {scores_of(result)}".rstrip())


def _size(text: str) -> tuple[object, object]:
    width, _, height = text.lower().partition("x")
    return _number(width), _number(height or width)


def _number(text: str) -> int | float | str:
    """A number as it was typed. What is not allowed is for `Request` to say, in a sentence."""
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return text
