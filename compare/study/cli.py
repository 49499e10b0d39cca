"""`python -m compare sweep` and `python -m compare paired`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compare.cli import STOPPED, add_model_options, load_model, make_folder, print_notes, stopped_by_ctrl_c
from compare.errors import InvalidRequest, OutOfMemory
from compare.methods import TODO


def add_sweep(commands: argparse._SubParsersAction) -> None:
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
    add_model_options(sweep)


def add_paired(commands: argparse._SubParsersAction) -> None:
    paired = commands.add_parser("paired", help="how much methods of a sweep differ, pair by pair")
    paired.set_defaults(command=_paired)
    paired.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="what `compare sweep --out` wrote"
    )
    paired.add_argument("--methods", nargs="+", required=True, metavar="METHOD")
    paired.add_argument("--against", default=TODO.id, metavar="METHOD", help=f"default: {TODO.id}")
    paired.add_argument("--plot", type=Path, metavar="FILE", help="draw it too, such as paired.png")


def _sweep(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from compare.models.load import with_scheduler
    from compare.study.curve import markdown, plot, points
    from compare.study.row_folder import RowFolder
    from compare.study.rows import Row, Setup
    from compare.study.scorers import Scorers, on_small_pictures
    from compare.study.sweep import Sweep, sweep

    settings = Sweep.load(options.file)
    loaded = load_model(options)
    if options.scheduler:
        loaded = with_scheduler(loaded, options.scheduler)
    requests = settings.requests(loaded)
    scorers = Scorers.of(loaded)
    print_notes((*scorers.missing, *on_small_pictures(requests)))
    did_not_fit = 0
    with RowFolder(options.out, Setup.of(loaded, scorers), Row) as folder, stopped_by_ctrl_c() as stop:
        bar = tqdm(sweep(loaded, requests, folder, scorers, stop), total=len(requests), unit="comparison")
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
    from compare.study.grid_variants import studied_method
    from compare.study.paired import contrasts, markdown
    from compare.study.paired_plot import plot
    from compare.study.row_folder import read_rows
    from compare.study.rows import Row

    for id in (*options.methods, options.against):
        studied_method(id)
    found = []
    for folder in options.folders:
        of_folder = contrasts(folder.name, read_rows(folder, Row), options.methods, options.against)
        if not of_folder:
            raise InvalidRequest(
                f"{folder} has no comparison of {options.against} with {' or '.join(options.methods)} in it."
            )
        found += of_folder
    print(markdown(found), end="")
    if options.plot:
        make_folder(options.plot.parent)
        plot(found, options.plot)
    return 0
