"""`python -m compare bench` and `python -m compare profile`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from compare.bench.request import BenchRequest
from compare.bench.variants import DEFAULT_METHODS, Variant, bench_methods, variants
from compare.cli import add_model_options, load_model, make_folder, number, size
from compare.errors import InvalidRequest, OutOfMemory
from compare.methods import BASELINE, TODO

if TYPE_CHECKING:
    from compare.bench.timing import Progress
    from compare.models.load import LoadedPipeline


def add_bench(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser(
        "bench", help="time the methods and their upper bounds over sizes and factors"
    )
    bench.set_defaults(command=_bench)
    bench.add_argument(
        "--sizes", type=size, nargs="+", metavar="PIXELS",
        help="such as 768 1024x768 (default: the model's)",
    )  # fmt: skip
    bench.add_argument(
        "--factors", type=number, nargs="+", default=[2, 3, 4], metavar="F", help="default: 2 3 4"
    )
    ids = ", ".join(method.id for method in bench_methods())
    bench.add_argument(
        "--methods", nargs="+", default=list(DEFAULT_METHODS), metavar="METHOD",
        help=f"some of {ids}; Baseline and upper bounds are timed too",
    )  # fmt: skip
    bench.add_argument("--steps", type=number, default=10, help="of a whole run; 0 times UNet calls only")
    bench.add_argument("--compile", action="store_true", help="compile the UNet's transformer blocks")
    bench.add_argument("--out", type=Path, default=Path("bench"), metavar="FOLDER", help="default: bench/")
    _add_shared_options(bench, rounds=7)


def add_profile(commands: argparse._SubParsersAction) -> None:
    profile = commands.add_parser("profile", help="say where the time of a step goes, part by part")
    profile.set_defaults(command=_profile)
    profile.add_argument(
        "--size", type=size, metavar="PIXELS", help="such as 768 or 1024x768 (default: the model's)"
    )
    profile.add_argument("--factor", type=number, default=2, metavar="F", help="default: 2")
    profile.add_argument(
        "--method", default=TODO.id,
        help=f"one of the bench's, beside Baseline and its upper bound (default: {TODO.id})",
    )  # fmt: skip
    _add_shared_options(profile, rounds=5)


def _add_shared_options(command: argparse.ArgumentParser, rounds: int) -> None:
    command.add_argument(
        "--rounds", type=number, default=rounds, help="time everything this often, interleaved"
    )
    command.add_argument(
        "--batch", type=number, default=2,
        help="rows of the UNet's batch; an even number is guided (default: 2, one picture)",
    )  # fmt: skip
    add_model_options(command)
    command.add_argument(
        "--architecture", metavar="NAME",
        help="instead of --model: sdxl, sd15 or mini (the bundled model's), without a download",
    )  # fmt: skip
    command.add_argument(
        "--random-weights", action="store_true", help="with --architecture, whose weights are always random"
    )


def _bench(options: argparse.Namespace) -> int:
    from compare.bench.files import save_bench
    from compare.bench.table import markdown
    from compare.bench.timing import bench

    loaded = _load(options)
    request = BenchRequest(
        sizes=tuple(options.sizes or [(loaded.defaults.width, loaded.defaults.height)]),
        factors=tuple(options.factors),
        methods=tuple(options.methods),
        rounds=options.rounds,
        steps=options.steps,
        batch=options.batch,
        compiled=options.compile,
    )
    make_folder(options.out)
    for report in bench(loaded, request, options.command_line, _print_progress):
        save_bench(report, options.out)  # after every size: what is done stays, whatever happens next
    print(markdown(report))
    print(f"Saved in {options.out}", file=sys.stderr)
    return 0


def _profile(options: argparse.Namespace) -> int:
    from compare.bench.profile import breakdown, breakdown_table
    from compare.experiment.memory import is_out_of_memory

    loaded = _load(options)
    width, height = options.size or (loaded.defaults.width, loaded.defaults.height)
    request = BenchRequest(
        sizes=((width, height),), factors=(options.factor,), methods=(options.method,),
        rounds=options.rounds, batch=options.batch,
    )  # fmt: skip
    (method,) = request.chosen
    if method is BASELINE:
        raise InvalidRequest("Baseline is always in the profile: choose the method to set beside it.")
    shown = variants(request.chosen, request.factors)
    try:
        parts = breakdown(loaded, shown, width, height, request.batch, request.rounds)
    except ValueError as error:  # what the method cannot do at this size
        raise InvalidRequest(str(error)) from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"{width}×{height} does not fit into memory: try a smaller --size.") from error
    info = loaded.info
    print(f"{info.name} on {info.device_name}, {info.dtype}, {width}×{height}\n")
    print(breakdown_table(parts, Variant(method, options.factor)), end="")
    return 0


def _load(options: argparse.Namespace) -> LoadedPipeline:
    from compare.models.placement import DTYPES
    from compare.models.random_weights import random_pipeline

    if options.architecture and options.model:
        raise InvalidRequest("--model and --architecture exclude each other: give one of them.")
    if options.random_weights and not options.architecture:
        raise InvalidRequest("--random-weights goes with --architecture; a --model has its own weights.")
    if not options.architecture:
        return load_model(options)
    return random_pipeline(options.architecture, options.device, DTYPES.get(options.dtype), options.attention)


def _print_progress(progress: Progress) -> None:
    size = f"{progress.width}×{progress.height}"
    print(f"{size}, round {progress.round}: {progress.variant}", file=sys.stderr)
