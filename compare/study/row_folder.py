"""Rows of results, one line of JSON each, in a folder that stays valid if the process is killed."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from compare.errors import InvalidRequest


class KeyedRow(Protocol):
    """A pydantic record. Two with the same key would be the same row."""

    @property
    def key(self) -> Hashable: ...

    def model_dump_json(self) -> str: ...

    @classmethod
    def model_validate_json(cls, json_data: str) -> KeyedRow: ...


R = TypeVar("R", bound=KeyedRow)
S = TypeVar("S", bound=BaseModel)


def read_rows(folder: Path, row: type[R]) -> list[R]:
    """The whole rows that a `RowFolder` has written so far: none at first.

    Raises:
        InvalidRequest: the file cannot be read, or a line is no such row.
    """
    path = folder / "rows.jsonl"
    rows: list[R] = []
    if (folder / "setup.json").exists() and not path.exists():
        return rows
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        # A kill may have cut the last one short.
        rows.extend(row.model_validate_json(line) for line in lines if line.endswith(b"\n"))
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise InvalidRequest(f"{path}, line {len(rows) + 1}, is not such a row.") from error
    return rows


def read_setup(folder: Path, setup: type[S]) -> S:
    """What `setup.json` in the folder says.

    Raises:
        InvalidRequest: the file cannot be read, or is of something else.
    """
    file = folder / "setup.json"
    try:
        return setup.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, ValidationError) as error:
        raise InvalidRequest(f"{file} is of something else: name another folder.") from error


def difference(setup: S, other: S) -> tuple[str, object, object] | None:
    """The first field in which they differ, with both values; None if there is none.

    What one of them does not say does not count: it is of a folder from before that was noted.
    """
    for name in type(setup).model_fields:
        ours, theirs = getattr(setup, name), getattr(other, name)
        if ours != theirs and name in setup.model_fields_set & other.model_fields_set:
            return name, ours, theirs
    return None


class RowFolder(Generic[R]):
    """`rows.jsonl`, and `setup.json` that says how its rows were made. A context manager.

    One process at a time. Rows of another setup are never added. No two rows have the same `key`.

    Args:
        folder: made if need be.
        setup: all that the rows depend on and do not say themselves.
        row: their class.

    Raises:
        InvalidRequest: on entering: the folder is in use, cannot be written, or holds something else.
    """

    def __init__(self, folder: Path, setup: BaseModel, row: type[R]) -> None:
        self.folder = folder
        self._setup = setup
        self._row = row
        self._rows: dict[Hashable, R] = {}
        self._lock = FileLock(folder / ".lock", timeout=0)

    @property
    def path(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def rows(self) -> list[R]:
        return list(self._rows.values())

    def __enter__(self) -> RowFolder[R]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise InvalidRequest(
                f"{self.folder} is in use by another process: wait for it, or name another folder."
            ) from error
        except OSError as error:
            raise InvalidRequest(f"{self.folder} cannot be written: {error.strerror}.") from error
        try:
            self._take_over()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def holds(self, keys: Iterable[Hashable]) -> bool:
        """Whether every row with one of these keys is there."""
        return all(key in self._rows for key in keys)

    def append(self, rows: Iterable[R]) -> list[R]:
        """Write those that are not there yet, all at once and onto the disk; returns them."""
        new = {row.key: row for row in rows if row.key not in self._rows}
        with self.path.open("ab") as file:
            file.write("".join(row.model_dump_json() + "\n" for row in new.values()).encode())
            file.flush()
            os.fsync(file.fileno())
        self._rows |= new
        return list(new.values())

    def _take_over(self) -> None:
        """Read the rows from before. A line that a kill cut short is removed, and its row is made again."""
        setup = self.folder / "setup.json"
        if setup.exists():
            self._require_same()
        elif self.path.exists():
            raise InvalidRequest(f"{self.path} is there without a setup.json: name another folder.")
        else:
            part = setup.with_suffix(".part")
            part.write_text(self._setup.model_dump_json(indent=1) + "\n", encoding="utf-8")
            part.replace(setup)
        if self.path.exists():
            self._rows = {row.key: row for row in read_rows(self.folder, self._row)}
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)

    def _require_same(self) -> None:
        if found := difference(read_setup(self.folder, type(self._setup)), self._setup):
            name, theirs, ours = found
            raise InvalidRequest(
                f"{self.folder} has rows with {name} {theirs}, and now it is {ours}: name another folder."
            )
