"""`python -m compare sweep`, `python -m compare merge` and `python -m compare paired`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compare.cli import STOPPED, add_model_options, load_model, make_folder, print_notes, stopped_by_ctrl_c
from compare.errors import InvalidRequest, RunFailed
from compare.methods import TODO

if TYPE_CHECKING:
    from compare.study.rows import Row


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
    sweep.add_argument(
        "--shard", default="1/1", metavar="I/N",
        help="only this part of N, such as 2/8, for another machine; `compare merge` puts the parts together",
    )  # fmt: skip
    add_model_options(sweep)


def add_merge(commands: argparse._SubParsersAction) -> None:
    merge = commands.add_parser("merge", help="put the rows of a sweep's parts into one folder")
    merge.set_defaults(command=_merge)
    merge.add_argument("out", type=Path, metavar="OUT", help="rows that it holds stay")
    merge.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="what `compare sweep --out` wrote"
    )


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
    from compare.study.rows import sweep_folder
    from compare.study.shards import Shard
    from compare.study.sweep import Sweep, Worker, sweep

    settings, shard = Sweep.load(options.file), Shard.parse(options.shard)
    loaded = load_model(options)
    if options.scheduler:
        loaded = with_scheduler(loaded, options.scheduler)
    requests = shard.of_requests(settings.requests(loaded))
    worker = Worker.of(loaded)
    print_notes(worker.scorers.missing)
    failed = 0
    with sweep_folder(options.out, worker.setup) as folder, stopped_by_ctrl_c() as stop:
        bar = tqdm(sweep(worker, requests, folder, stop), total=len(requests), unit="comparison")
        for done in bar:
            if isinstance(done, RunFailed):
                failed += 1
                bar.write(f"note: {done}", file=sys.stderr)
        rows = folder.rows
    _show(rows, options.out)
    if stop.is_set():
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED
    if failed:
        raise RunFailed(f"{failed} of {len(requests)} comparisons have no rows; the notes above say why.")
    return 0


def _merge(options: argparse.Namespace) -> int:
    from compare.study.shards import merge

    rows, double = merge(options.out, options.folders)
    if double:
        print_notes([f"{double} rows were there already, from another folder: the first stay."])
    _show(rows, options.out)
    return 0


def _show(rows: Sequence[Row], out: Path) -> None:
    """Print the table, and save it and the curve beside the rows."""
    from compare.study.curve import markdown, plot, points

    found = points(rows)
    if not found:
        return
    (out / "table.md").write_text(markdown(found), encoding="utf-8")
    plot(found, out / "curve.png")
    print(markdown(found), end="")
    print(f"Saved in {out}", file=sys.stderr)


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
