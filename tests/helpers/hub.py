"""A local server that plays the Hugging Face Hub: enough of it for its client to load a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.helpers.local_http import answering

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """The Hub. Its repositories are folders, and can be damaged as real ones are.

    Attributes:
        repositories: folder of each repository.
        revisions: names that each repository answers to, beside `COMMIT`.
        gated: repositories whose terms have not been accepted.
        cut_off: names of files of which half is sent.
        fetched: repository and file of all that was sent.
    """

    def __init__(self) -> None:
        self.address = ""
        self.repositories: dict[str, Path] = {}
        self.revisions: dict[str, set[str]] = {}
        self.gated: set[str] = set()
        self.cut_off: set[str] = set()
        self.down = False
        self.fetched: list[tuple[str, str]] = []

    def add(self, name: str, folder: Path, *revisions: str) -> None:
        """Put a repository on the Hub, under "main" and the revisions given."""
        self.repositories[name] = folder
        self.revisions[name] = {"main", COMMIT, *revisions}


@contextmanager
def hub_on_this_machine() -> Iterator[Hub]:
    """Serve a `Hub` until the block ends."""
    hub = Hub()
    with answering(_handler_of(hub)) as hub.address:
        yield hub


def _handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            owner, name, *rest = path.removeprefix("api/models/").split("/")
            kind, revision, *file = rest or ("revision", "main")
            repository = f"{owner}/{name}"
            if hub.down:
                self._answer(503)
            elif repository not in hub.repositories:
                self._answer(404, {"X-Error-Code": "RepoNotFound"})
            elif repository in hub.gated:
                self._answer(403, {"X-Error-Code": "GatedRepo"})
            elif revision not in hub.revisions[repository]:
                self._answer(404, {"X-Error-Code": "RevisionNotFound"})
            else:
                commit = revision if len(revision) == 40 else COMMIT
                if kind == "resolve":
                    self._answer_file(repository, commit, "/".join(file))
                else:
                    self._answer_list(repository, commit, kind)

        do_HEAD = do_GET

        def _answer_list(self, repository: str, commit: str, kind: str) -> None:
            folder = hub.repositories[repository]
            files = {
                file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()
            }
            if kind == "tree":
                content: object = [
                    {"type": "file", "path": name, "size": file.stat().st_size, "oid": _sum(file)}
                    for name, file in files.items()
                ]
            else:
                siblings = [{"rfilename": name} for name in files]
                content = {"id": repository, "sha": commit, "siblings": siblings}
            self._answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

        def _answer_file(self, repository: str, commit: str, name: str) -> None:
            file = hub.repositories[repository] / name
            if not file.is_file():
                self._answer(404, {"X-Error-Code": "EntryNotFound"})
                return
            if self.command == "GET":
                hub.fetched.append((repository, name))
            headers = {"X-Repo-Commit": commit, "ETag": f'"{_sum(file)}"'}
            self._answer(200, headers, file.read_bytes(), is_cut_off=name in hub.cut_off)

        def _answer(
            self, status: int, headers: Mapping[str, str] = {}, body: bytes = b"", is_cut_off: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: len(body) // 2] if is_cut_off else body)
            self.close_connection |= is_cut_off

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _sum(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
