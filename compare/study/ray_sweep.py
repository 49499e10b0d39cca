"""A sweep on a Ray cluster: workers that load the model once, and take one comparison after another."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray
import torch
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from compare.errors import InvalidRequest, ModelNotLoaded, OutOfMemory, RunFailed
from compare.request import Request
from compare.study.row_folder import RowFolder, difference
from compare.study.rows import Row, Setup, keys_of
from compare.study.sweep import Sweep, Worker

PROJECT = Path(__file__).resolve().parents[2]
SENT = {"compare", "todo_patch", "assets"}
"""What of the project Ray copies to every machine: so all run the same code."""
DEATHS = 2
"""After so many workers that died of the same comparison, it is given up."""
PATIENCE = 60
"""Seconds until it is said that no worker has started."""


class RayWorkers:
    """Workers on all machines of a cluster, as many as these have devices. A context manager.

    Without an address it joins the cluster that runs on this machine, or else starts one of this machine
    alone. Times are taken only where a worker has its device for itself: on a GPU, or if it is the only one
    on the CPU of its machine.

    Args:
        load: makes a worker, from the keyword arguments `device` and `timed`. It is called on the machines.
        address: of a cluster, as `ray start --head` printed it.
        gpus: of each worker (default: 1 if any machine has one).
        cpus: cores of each worker, which then runs on the CPU (default, without GPUs: all of its machine).
        note: is given a sentence for the reader when workers come or go.

    Raises:
        InvalidRequest: on entering: no machine has so many GPUs or CPUs.
        RunFailed: on entering: the cluster cannot be joined.
    """

    def __init__(
        self,
        load: Callable[..., Worker],
        address: str | None,
        gpus: int | None,
        cpus: int | None,
        note: Callable[[str], None],
    ) -> None:
        self._load = load
        self._address = address
        self._gpus = gpus
        self._cpus = cpus
        self._note = note
        self._first: _Loaded | None = None
        self._idle: list[_Member] = []
        self._jobs: dict[ray.ObjectRef, tuple[_Member, Request | None]] = {}
        """What runs: a comparison, or (None) the loading of the model."""

    def __enter__(self) -> RayWorkers:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers otherwise
        left_out = [f"/{path.name}" for path in PROJECT.iterdir() if path.name not in SENT]
        try:
            ray.init(
                self._address,
                runtime_env={"working_dir": str(PROJECT), "excludes": left_out},
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            place = f"at {self._address}" if self._address else "of this machine"
            raise RunFailed(f"The Ray cluster {place} cannot be joined: {_first_line(error)}") from error
        try:
            self._start()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        ray.shutdown()

    @property
    def setup(self) -> Setup:
        """All workers have the same, or the sweep ends with an error."""
        return self._loaded.setup

    @property
    def notes(self) -> tuple[str, ...]:
        return self._loaded.notes

    def requests(self, sweep: Sweep) -> tuple[Request, ...]:
        """As `Sweep.requests`, of the workers' model."""
        actor = self._loaded.member.actor
        try:
            return ray.get(actor.requests.remote(sweep))
        except RayTaskError as error:
            raise error.cause from error

    def sweep(
        self, requests: Sequence[Request], folder: RowFolder[Row], stop: threading.Event | None = None
    ) -> Iterator[list[Row] | RunFailed]:
        """As `Worker.sweep`. Rows are written here, in the order in which comparisons end.

        The comparison of a worker that dies is given to another one, and Ray starts the worker again; so is
        that of a worker that raises what is no fault of the request, as a broken GPU does. A comparison of
        which several workers died yields an error in its place.

        Raises:
            InvalidRequest: a worker has other weights or versions than the first.
            RunFailed: no worker is left.
        """
        todo = deque(request for request in requests if not folder.holds(keys_of(request)))
        yield from ([] for _ in range(len(requests) - len(todo)))
        died: Counter[Request] = Counter()
        while todo or any(request is not None for _, request in self._jobs.values()):
            while todo and self._idle:
                self._run(self._idle.pop(), todo.popleft())
            if not self._jobs:
                raise RunFailed("No worker is left. The same command goes on from here.")
            for request, rows in self._ended():
                if not isinstance(rows, _Died):
                    yield rows if isinstance(rows, RunFailed) else folder.append(rows)
                    continue
                died[request] += 1
                if died[request] < DEATHS:
                    todo.appendleft(request)
                else:
                    yield rows
            if stop is not None and stop.is_set():
                return

    @property
    def _loaded(self) -> _Loaded:
        """The first worker that has the model in memory. Waits for it."""
        since = time.monotonic()
        said = False
        while self._first is None:
            if not self._jobs:
                raise RunFailed("No worker could load the model.")
            for _ in self._ended():
                pass  # none runs a comparison yet
            if not said and self._first is None and time.monotonic() - since > PATIENCE:
                self._note(
                    f"No worker has loaded the model within {PATIENCE} seconds. If other work of the cluster "
                    "has its GPUs or CPUs (`ray status` says so), this one waits for them."
                )
                said = True
        return self._first

    def _start(self) -> None:
        shares = _shares(self._gpus, self._cpus)
        for share in shares:
            self._run(self._member(share), None)
        hosts = Counter(share.host for share in shares)
        self._note("Workers: " + ", ".join(f"{count} on {host}" for host, count in hosts.items()) + ".")
        if not all(share.alone for share in shares):
            self._note("Times are not taken where workers share the CPU of a machine.")

    def _member(self, share: _Share) -> _Member:
        actor = _Actor.options(
            num_gpus=share.gpus,
            num_cpus=share.cpus,
            max_restarts=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(share.node, soft=False),
        ).remote(
            partial(self._load, device="cuda" if share.gpus else "cpu", timed=share.alone), max(1, share.cpus)
        )
        return _Member(actor, share)

    def _run(self, member: _Member, request: Request | None) -> None:
        call = member.actor.load.remote() if request is None else member.actor.rows.remote(request)
        self._jobs[call] = member, request

    def _ended(self) -> Iterator[tuple[Request, list[Row] | RunFailed]]:
        """Wait for half a second at most; what comparisons have given that ended meanwhile."""
        for call in ray.wait(list(self._jobs), timeout=0.5)[0]:
            member, request = self._jobs.pop(call)
            try:
                given = ray.get(call)
            except RayTaskError as error:
                if isinstance(error.cause, InvalidRequest):
                    raise error.cause from error
                if request is None:
                    raise ModelNotLoaded(f"On {member.host}: {_first_line(error.cause)}") from error
                ray.kill(member.actor)  # what it holds may be broken
                given = self._lost(self._member(member.share), request, error.cause)
            except RayError as error:
                given = self._lost(member, request, error)
            if request is not None:
                if not isinstance(given, _Died):
                    self._idle.append(member)
                yield request, given
            elif given is not None:
                self._has_loaded(member, *given)

    def _has_loaded(self, member: _Member, setup: Setup, notes: tuple[str, ...]) -> None:
        if self._first is None:
            self._first = _Loaded(member, setup, notes)
        elif found := difference(self._first.setup, setup):
            name, ours, theirs = found
            first = self._first.member.host
            raise InvalidRequest(
                f"The worker on {member.host} has {name} {theirs}, and that on {first} has {ours}: give all "
                "machines the same model and packages."
            )
        self._idle.append(member)

    def _lost(self, member: _Member, request: Request | None, error: Exception) -> _Died | None:
        if request is None:
            self._note(
                f"A worker on {member.host} died while it loaded the model, and is left out: "
                f"{_first_line(error)}"
            )
            return None
        self._note(
            f"A worker on {member.host} died in a comparison, and is started again: {_first_line(error)}"
        )
        self._run(member, None)
        return _Died(
            f"{DEATHS} workers died of “{request.prompt}” at {request.width}×{request.height}, the last on "
            f"{member.host}: {_first_line(error)}"
        )


@ray.remote
class _Actor:
    """One worker. Ray runs its calls one at a time."""

    def __init__(self, load: Callable[[], Worker], threads: int) -> None:
        torch.set_num_threads(threads)
        self._load = load
        self._worker: Worker | None = None

    def load(self) -> tuple[Setup, tuple[str, ...]]:
        worker = self._loaded()
        return worker.setup, worker.notes

    def requests(self, sweep: Sweep) -> tuple[Request, ...]:
        return self._loaded().requests(sweep)

    def rows(self, request: Request) -> list[Row] | OutOfMemory:
        return self._loaded().rows(request)

    def _loaded(self) -> Worker:
        if self._worker is None:
            self._worker = self._load()
        return self._worker


@dataclass(frozen=True, eq=False)
class _Member:
    actor: ActorHandle
    share: _Share

    @property
    def host(self) -> str:
        return self.share.host


@dataclass(frozen=True)
class _Loaded:
    member: _Member
    setup: Setup
    notes: tuple[str, ...]


class _Died(RunFailed):
    """The worker died in the comparison."""


@dataclass(frozen=True)
class _Share:
    """What one worker has of a machine."""

    node: str
    host: str
    gpus: int
    cpus: int
    alone: bool
    """Whether no other worker works on its device."""


def _shares(gpus: int | None, cpus: int | None) -> list[_Share]:
    """One for each worker that fits on the cluster."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    have = {kind: [int(node["Resources"].get(kind, 0)) for node in nodes] for kind in ("GPU", "CPU")}
    if gpus is None and cpus is None and any(have["GPU"]):
        gpus = 1
    shares = []
    for node, of_gpus, of_cpus in zip(nodes, have["GPU"], have["CPU"], strict=True):
        workers = of_gpus // gpus if gpus else of_cpus // (cpus or max(1, of_cpus))
        if workers:
            share = _Share(
                node=node["NodeID"],
                host=node["NodeManagerHostname"],
                gpus=gpus or 0,
                cpus=cpus or of_cpus // workers,
                alone=bool(gpus) or workers == 1,
            )
            shares += [share] * workers
    if not shares:
        kind, asked = ("GPU", gpus) if gpus else ("CPU", cpus or 1)
        raise InvalidRequest(
            f"No machine of the cluster has {asked} {kind}s for a worker: the largest has {max(have[kind])}."
        )
    return shares


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
