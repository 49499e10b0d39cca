from __future__ import annotations

import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
from pydantic import BaseModel

from compare.errors import InvalidRequest
from compare.study.row_folder import RowFolder

PROJECT = Path(__file__).resolve().parents[3]


class Setup(BaseModel):
    model: str = "tiny"


class Row(BaseModel):
    number: int

    @property
    def key(self) -> int:
        return self.number


def folder(path: Path) -> RowFolder[Row]:
    return RowFolder(path, Setup(), Row)


def filled(path: Path, *numbers: int) -> list[int]:
    with folder(path) as rows:
        rows.append(Row(number=number) for number in numbers)
        return [row.number for row in rows.rows]


def append_until_killed(path: Path) -> None:
    with folder(path) as rows:
        for number in count():
            rows.append([Row(number=number)])


def test_killed_at_any_moment_it_goes_on(tmp_path) -> None:
    lines = f"from {__name__} import *; append_until_killed(Path({str(tmp_path)!r}))"
    file, whole = tmp_path / "rows.jsonl", b""
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", lines], cwd=PROJECT) as process:
            while not file.exists() or file.stat().st_size < len(whole) + 1000:
                assert process.poll() is None
                time.sleep(0.002)
            process.kill()
        assert file.read_bytes().startswith(whole)
        numbers = filled(tmp_path)
        assert numbers == list(range(len(numbers)))
        whole = file.read_bytes()
        assert whole.decode() == "".join(Row(number=number).model_dump_json() + "\n" for number in numbers)


def test_rows_stay_and_none_is_double(tmp_path) -> None:
    assert filled(tmp_path, 1, 2) == [1, 2]
    assert filled(tmp_path, 2, 3) == [1, 2, 3]
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 3
    with folder(tmp_path) as rows:
        assert rows.holds([1, 2])
        assert not rows.holds([2, 4])


def test_one_process_at_a_time(tmp_path) -> None:
    with folder(tmp_path), pytest.raises(InvalidRequest, match="in use by another process"), folder(tmp_path):
        pass
    with folder(tmp_path):  # free again
        pass


@pytest.mark.parametrize("name", ["rows.jsonl", "setup.json"])
def test_files_of_something_else_are_left_alone(tmp_path, name) -> None:
    (tmp_path / name).write_text("mine, without an end")
    with pytest.raises(InvalidRequest, match="name another folder"), folder(tmp_path):
        pass
    assert (tmp_path / name).read_text() == "mine, without an end"


def test_a_line_that_is_no_row_is_named_by_its_number(tmp_path) -> None:
    filled(tmp_path, 1)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(InvalidRequest, match="line 2"), folder(tmp_path):
        pass
