"""A local server that plays the Hugging Face Hub: enough of it for its client to load a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
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
            if hub.down:
                return self._refuse(503, "")
            if path.startswith("api/models/"):
                return self._of_the_api(path.removeprefix("api/models/"))
            owner, name, _, revision, file = path.split("/", 4)
            return self._file(f"{owner}/{name}", revision, file)

        do_HEAD = do_GET

        def _of_the_api(self, path: str) -> None:
            owner, name, *rest = path.split("/")
            repository = f"{owner}/{name}"
            kind, revision = (*rest, "revision", "main")[:2] if len(rest) >= 2 else ("revision", "main")
            if not self._may_see(repository, revision):
                return
            folder = hub.repositories[repository]
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            if kind == "tree":
                listed = [
                    {
                        "type": "file",
                        "path": file.relative_to(folder).as_posix(),
                        "size": file.stat().st_size,
                        "oid": _sum(file),
                    }
                    for file in files
                ]
                self._answer_json(listed)
            else:
                siblings = [{"rfilename": file.relative_to(folder).as_posix()} for file in files]
                self._answer_json({"id": repository, "sha": _commit(revision), "siblings": siblings})

        def _may_see(self, repository: str, revision: str) -> bool:
            if repository not in hub.repositories:
                self._refuse(404, "RepoNotFound")
            elif repository in hub.gated:
                self._refuse(403, "GatedRepo")
            elif revision not in hub.revisions[repository]:
                self._refuse(404, "RevisionNotFound")
            else:
                return True
            return False

        def _file(self, repository: str, revision: str, name: str) -> None:
            if not self._may_see(repository, revision):
                return
            file = hub.repositories[repository] / name
            if not file.is_file():
                self._refuse(404, "EntryNotFound")
                return
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", _commit(revision))
            self.send_header("ETag", f'"{_sum(file)}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                hub.fetched.append((repository, name))
                self.wfile.write(content[: len(content) // 2] if name in hub.cut_off else content)
            if name in hub.cut_off:
                self.close_connection = True

        def _answer_json(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _commit(revision: str) -> str:
    return revision if len(revision) == 40 else COMMIT


def _sum(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
