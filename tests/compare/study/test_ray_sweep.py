"""On a Ray cluster of two machines, which both are this one: each has one CPU, and so one worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from compare.__main__ import main
from compare.errors import InvalidRequest, RunFailed
from compare.models.load import load_pipeline
from compare.study.row_folder import read_rows
from compare.study.rows import Row, sweep_folder
from compare.study.sweep import Sweep, Worker, load_worker
from tests.helpers.sweeps import SETTINGS, of_any_machine, swept, written

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-dev.txt")
from ray.cluster_utils import Cluster  # noqa: E402

from compare.study.ray_sweep import RayWorkers  # noqa: E402

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers have no tests


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster.address
        cluster.shutdown()


def load(folder: Path, device: str, timed: bool) -> Worker:
    return load_worker(str(folder), device, None, "sdpa", None, timed)


def load_and_die(
    folder: Path, width: int, once: Path | None, device: str, timed: bool, broken: bool = False
) -> Worker:
    """A worker that is killed in the middle of a comparison of this latent width, or raises what a broken GPU
    does: always, or only the one that makes the file `once`."""

    def die(unet: object, args: tuple) -> None:
        if args[0].shape[-1] != width:
            return
        with suppress(FileExistsError):
            if once is not None:
                once.touch(exist_ok=False)
            if broken:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")
            os.kill(os.getpid(), signal.SIGKILL)

    worker = load(folder, device, timed)
    worker.loaded.pipe.unet.register_forward_pre_hook(die)
    return worker


def load_other_weights(folder: Path, first: Path, device: str, timed: bool) -> Worker:
    """Other weights in the second of two workers. The first waits for it."""
    worker, second = load(folder, device, timed), first.with_name("second")
    try:
        first.touch(exist_ok=False)
    except FileExistsError:
        second.touch()
        setup = worker.setup.model_copy(update={"weights": "another"})
        return Worker(worker.loaded, worker.scorers, setup, timed)
    while not second.exists():
        time.sleep(0.05)
    return worker


def rows_until(
    address: str, load: Callable[..., Worker], folder: Path, text: str, comparisons: int, said: list[str]
) -> list[list[Row] | RunFailed]:
    """Run a sweep into `out` in the folder, and stop after so many comparisons."""
    stop, done = threading.Event(), []
    with RayWorkers(load, address, None, None, said.append) as workers:
        requests = workers.requests(Sweep.load(written(folder, text)))
        with sweep_folder(folder / "out", workers.setup) as out:
            for rows in workers.sweep(requests, out, stop):
                done.append(rows)
                if len(done) == comparisons:
                    stop.set()
    return done


def test_a_killed_worker_and_a_stop_cost_no_row_and_double_none(
    tiny_folder, tmp_path, address, capsys
) -> None:
    once, said = tmp_path / "died", []
    done = rows_until(address, partial(load_and_die, tiny_folder, 8, once), tmp_path, SETTINGS, 3, said)
    assert once.exists()
    assert sum("died in a comparison, and is started again" in note for note in said) == 1
    first = read_rows(tmp_path / "out", Row)
    assert len(first) == 2 * len(done) < 16

    command = ["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--model", str(tiny_folder), "--ray", address]) == 0
    rows = read_rows(tmp_path / "out", Row)
    assert rows[: len(first)] == first
    assert all(row.seconds > 0 and row.speedup > 0 and row.host and row.device for row in rows)
    assert "note: Workers: 2 on " in capsys.readouterr().err

    alone = tmp_path / "alone"
    alone.mkdir()
    of_one_process = swept(load_pipeline(tiny_folder, "cpu"), alone)
    assert sorted(map(of_any_machine, rows)) == sorted(map(of_any_machine, of_one_process))
    assert (tmp_path / "out" / "setup.json").read_text() == (alone / "out" / "setup.json").read_text()


def test_a_comparison_that_kills_every_worker_is_given_up_and_the_rest_is_done(
    tiny_folder, tmp_path, address
) -> None:
    text = SETTINGS.replace("[64]", "[64, 128]").replace(', "a cat"', "").replace("[1, 2]", "[1]")
    die = partial(load_and_die, tiny_folder, 16, None)
    done = rows_until(address, die, tmp_path, text.replace("[2, 3]", "[2]"), 3, [])
    (failed,) = [item for item in done if isinstance(item, RunFailed)]
    assert "2 workers died of “a fox” at 128×128" in str(failed)
    assert [row.width for row in read_rows(tmp_path / "out", Row)] == [64, 64]


def test_a_worker_that_is_broken_costs_no_row(tiny_folder, tmp_path, address) -> None:
    once, said = tmp_path / "broke", []
    text = SETTINGS.replace(', "a cat"', "").replace("[2, 3]", "[2]")
    broken = partial(load_and_die, tiny_folder, 8, once, broken=True)
    done = rows_until(address, broken, tmp_path, text, 9, said)
    assert once.exists()
    assert [len(rows) for rows in done] == [2, 2]
    (note,) = (note for note in said if "died" in note)
    assert note.endswith("is started again: CUDA error: an illegal memory access was encountered")


def test_a_model_in_a_folder_that_others_cannot_open_is_refused(
    tiny_folder, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    command = ["sweep", str(written(tmp_path)), "--model", tiny_folder.name, "--ray"]
    assert main(command) == 2
    assert f"name {tiny_folder.name} by its whole path" in capsys.readouterr().err


def test_workers_of_other_weights_are_refused(tiny_folder, tmp_path, address) -> None:
    load = partial(load_other_weights, tiny_folder, tmp_path / "first")
    with pytest.raises(InvalidRequest, match="give all machines the same model"):
        rows_until(address, load, tmp_path, SETTINGS, 9, [])


def test_more_than_any_machine_has_is_refused(tiny_folder, tmp_path, address, capsys) -> None:
    command = ["sweep", str(written(tmp_path)), "--model", str(tiny_folder), "--ray", address]
    assert main([*command, "--cpus-per-worker", "2"]) == 2
    assert main([*command, "--gpus-per-worker", "1"]) == 2
    said = capsys.readouterr().err
    assert "No machine of the cluster has 2 CPUs for a worker: the largest has 1." in said
    assert "No machine of the cluster has 1 GPUs for a worker: the largest has 0." in said
