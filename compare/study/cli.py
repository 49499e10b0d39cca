"""`python -m compare sweep`, `python -m compare merge` and `python -m compare paired`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from compare.cli import STOPPED, add_model_options, make_folder, number, print_notes, stopped_by_ctrl_c
from compare.errors import InvalidRequest, RunFailed
from compare.methods import TODO
from compare.request import check_whole

RAY = "ray==2.60.0"

if TYPE_CHECKING:
    from compare.study.ray_sweep import RayWorkers
    from compare.study.rows import Row
    from compare.study.sweep import Worker


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
        "--no-times", action="store_true", help="the machine does other work too: rows have scores only"
    )
    sweep.add_argument(
        "--shard", default="1/1", metavar="I/N",
        help="only this part of N, such as 2/8, for another machine; `compare merge` puts the parts together",
    )  # fmt: skip
    sweep.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="run it on a Ray cluster (default: the one of this machine, or else this machine alone)",
    )  # fmt: skip
    share = sweep.add_mutually_exclusive_group()
    share.add_argument(
        "--gpus-per-worker", type=number, metavar="N", help="with --ray (default: 1, if there are GPUs)"
    )
    share.add_argument(
        "--cpus-per-worker", type=number, metavar="N",
        help="with --ray: run on CPUs, with so many cores each (default: all of a machine)",
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

    from compare.study.rows import sweep_folder
    from compare.study.scorers import on_small_pictures
    from compare.study.shards import Shard
    from compare.study.sweep import Sweep

    settings, without = Sweep.load(options.file).with_what_is_installed()
    shard, failed = Shard.parse(options.shard), 0
    with _workers(options) as workers:
        requests = shard.of_requests(workers.requests(settings))
        print_notes((*without, *workers.notes, *on_small_pictures(requests)))
        with sweep_folder(options.out, workers.setup) as folder, stopped_by_ctrl_c() as stop:
            if untimed := [row for row in folder.rows if row.seconds is None and not options.no_times]:
                print_notes([f"{len(untimed)} rows from before have no times: other folders can have them."])
            for done in tqdm(workers.sweep(requests, folder, stop), total=len(requests), unit="comparison"):
                if isinstance(done, RunFailed):
                    failed += 1
                    _note(str(done))
            rows = folder.rows
    _show(rows, options.out)
    if stop.is_set():
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED
    if failed:
        raise RunFailed(f"{failed} of {len(requests)} comparisons have no rows; the notes above say why.")
    return 0


def _workers(options: argparse.Namespace) -> AbstractContextManager[Worker | RayWorkers]:
    from compare.models.placement import DTYPES
    from compare.study.sweep import load_worker

    def load(device: str | None, timed: bool = True) -> Worker:
        return load_worker(
            options.model,
            device=device,
            dtype=DTYPES.get(options.dtype),
            attention=options.attention,
            scheduler=options.scheduler,
            timed=timed and not options.no_times,
        )

    shares = {"--gpus-per-worker": options.gpus_per_worker, "--cpus-per-worker": options.cpus_per_worker}
    if options.ray is None:
        if any(shares.values()):
            raise InvalidRequest(f"{' and '.join(shares)} are for a sweep with --ray.")
        return nullcontext(load(device=options.device))
    for name, share in shares.items():
        if share is not None:
            check_whole(name, share, (1, 1024))
    if options.model and Path(options.model).exists() and not Path(options.model).is_absolute():
        raise InvalidRequest(
            f"With --ray every machine opens the model itself: name {options.model} by its whole path."
        )
    if options.device:
        raise InvalidRequest(
            f"With --ray there is no --device: {' or '.join(shares)} says what each worker has."
        )
    try:
        from compare.study.ray_sweep import RayWorkers
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InvalidRequest(f"--ray needs Ray, which is not installed: pip install {RAY}") from error
    return RayWorkers(load, options.ray or None, *shares.values(), _note)


def _note(text: str) -> None:
    """Above the progress bar, if there is one."""
    from tqdm import tqdm

    tqdm.write(f"note: {text}", file=sys.stderr)


def _merge(options: argparse.Namespace) -> int:
    from compare.study.shards import merge

    there = [folder for folder in options.folders if folder.is_dir()]
    if missing := [folder for folder in options.folders if folder not in there]:
        print_notes([f"Not there, so without their rows: {', '.join(map(str, missing))}."])
    rows, double = merge(options.out, there)
    if double:
        print_notes([f"{double} rows were there already: the first stay."])
    _show(rows, options.out)
    return 0


def _show(rows: Sequence[Row], out: Path) -> None:
    """Print the table, and save it beside the rows; the curve too, if there are times to draw it over."""
    from compare.study.curve import markdown, plot, points

    found = points(rows)
    if not found:
        return
    (out / "table.md").write_text(markdown(found), encoding="utf-8")
    if any(point.speedup for point in found):
        plot(found, out / "curve.png")
    else:
        print_notes(["Without times there is no curve.png."])
    print(markdown(found), end="")
    print(f"Saved in {out}", file=sys.stderr)


def _paired(options: argparse.Namespace) -> int:
    from compare.study.paired import contrasts, markdown
    from compare.study.paired_plot import plot
    from compare.study.row_folder import read_rows
    from compare.study.rows import Row
    from compare.study.studied import studied_method

    for id in (*options.methods, options.against):
        studied_method(id)
    found = []
    for folder in options.folders:
        of_folder = contrasts(folder.resolve().name, read_rows(folder, Row), options.methods, options.against)
        there = {contrast.method for contrast in of_folder}
        if not there:
            raise InvalidRequest(
                f"{folder} has no comparison of {options.against} with {' or '.join(options.methods)} in it."
            )
        if missing := [id for id in options.methods if id not in there]:
            print_notes([f"{folder} has no comparison of {options.against} with {', '.join(missing)}."])
        found += of_folder
    print(markdown(found), end="")
    if options.plot:
        make_folder(options.plot.parent)
        plot(found, options.plot)
    return 0
