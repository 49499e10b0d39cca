from __future__ import annotations

import json
import platform
import shutil
from collections import Counter
from pathlib import Path

import pytest

from compare.__main__ import main
from compare.errors import InvalidRequest
from compare.study import paired
from compare.study.curve import markdown, plot, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row, read_sweep
from compare.study.shards import Shard, merge
from compare.study.sweep import Sweep
from tests.helpers.sweeps import SETTINGS, of_any_machine, swept, written

LARGER = SETTINGS.replace("[64]", "[64, 128]").replace('"a cat"', '"a cat", "a dog"')


def test_every_comparison_is_in_one_shard_and_every_shard_has_as_much_of_each_setting(
    loaded, tmp_path
) -> None:
    requests = Sweep.load(written(tmp_path, LARGER)).requests(loaded)
    shards = [Shard(number, 3).of_requests(requests) for number in (1, 2, 3)]
    assert Counter(request for shard in shards for request in shard) == Counter(requests)
    assert Shard(1, 1).of_requests(requests) == requests
    for shard in shards:
        assert Counter((request.width, request.factor) for request in shard) == Counter(
            {(64, 2): 2, (64, 3): 2, (128, 2): 2, (128, 3): 2}
        )


def test_a_shard_is_the_same_whatever_the_order_in_the_file(loaded, tmp_path) -> None:
    requests = Sweep.load(written(tmp_path, LARGER)).requests(loaded)
    for number in (1, 2, 3, 4, 5):
        shard = Shard(number, 5)
        assert set(shard.of_requests(requests)) == set(shard.of_requests(requests[::-1]))


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/2/3", "-1/2", ""])
def test_a_shard_that_does_not_exist_is_refused(text) -> None:
    with pytest.raises(InvalidRequest, match="from 1/4 to 4/4"):
        Shard.parse(text)


def test_a_shard_without_comparisons_is_refused(loaded, tmp_path) -> None:
    requests = Sweep.load(written(tmp_path)).requests(loaded)
    with pytest.raises(InvalidRequest, match="9/9 is empty: the sweep has 8"):
        Shard(9, 9).of_requests(requests)


def test_merged_shards_are_the_rows_of_one_process(tiny_folder, tmp_path, capsys) -> None:
    file = written(tmp_path)
    options = ["--model", str(tiny_folder), "--device", "cpu"]
    assert main(["sweep", str(file), "--out", str(tmp_path / "whole"), *options]) == 0
    parts = [str(tmp_path / f"part-{number}") for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        assert main(["sweep", str(file), "--out", part, "--shard", f"{number}/2", *options]) == 0
    capsys.readouterr()
    assert main(["merge", str(tmp_path / "merged"), *parts]) == 0
    rows = read_rows(tmp_path / "merged", Row)
    assert capsys.readouterr().out == markdown(points(rows)) == (tmp_path / "merged" / "table.md").read_text()
    assert (tmp_path / "merged" / "curve.png").stat().st_size > 10_000
    whole = read_rows(tmp_path / "whole", Row)
    assert sorted(map(of_any_machine, rows)) == sorted(map(of_any_machine, whole))
    assert {row.host for row in rows} == {platform.node()}
    assert {row.weights for row in rows} == {
        json.loads((tmp_path / "whole/setup.json").read_text())["weights"]
    }
    # and the single process goes on where the parts have ended
    assert main(["sweep", str(file), "--out", str(tmp_path / "merged"), *options]) == 0
    assert read_rows(tmp_path / "merged", Row) == rows


def test_a_row_that_two_folders_have_is_there_once(loaded, rows, sweep_folder, tmp_path, capsys) -> None:
    other = moved(sweep_folder / "out", tmp_path / "other")
    assert main(["merge", str(tmp_path / "merged"), str(sweep_folder / "out"), str(other)]) == 0
    assert read_rows(tmp_path / "merged", Row) == rows
    assert "16 rows were there already" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["weights", "scheduler", "dtype"])
def test_folders_of_other_weights_or_settings_are_refused(sweep_folder, tmp_path, field, capsys) -> None:
    own = {"weights": "another"} if field == "weights" else {}  # rows name their weights, too
    other = moved(sweep_folder / "out", tmp_path / "other", **own)
    setup = json.loads((other / "setup.json").read_text()) | {field: "another"}
    (other / "setup.json").write_text(json.dumps(setup))
    assert main(["merge", str(tmp_path / "merged"), str(sweep_folder / "out"), str(other)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1
    assert f"with {field} another" in printed
    assert not (tmp_path / "merged").exists()


def test_shards_that_have_only_begun_or_not_even_that_are_no_hindrance(
    rows, sweep_folder, tmp_path, capsys
) -> None:
    begun = shutil.copytree(sweep_folder / "out", tmp_path / "begun")
    (begun / "rows.jsonl").unlink()
    waits = tmp_path / "waits"
    assert main(["merge", str(tmp_path / "merged"), str(sweep_folder / "out"), str(begun), str(waits)]) == 0
    assert f"note: Not there, so without their rows: {waits}." in capsys.readouterr().err
    assert read_rows(tmp_path / "merged", Row) == rows
    assert main(["merge", str(tmp_path / "merged"), str(waits)]) == 2
    assert "nothing to merge" in capsys.readouterr().err


def test_rows_that_are_not_of_the_folders_weights_are_refused(rows, sweep_folder, tmp_path) -> None:
    mixed = shutil.copytree(sweep_folder / "out", tmp_path / "mixed")
    strange = rows[0].model_copy(update={"weights": "others", "prompt": "a dog"})
    with (mixed / "rows.jsonl").open("a") as file:
        file.write(strange.model_dump_json() + "\n")
    with pytest.raises(InvalidRequest, match="rows of the weights others"):
        merge(tmp_path / "merged", [mixed])


def test_a_folder_without_rows_is_refused(sweep_folder, tmp_path) -> None:
    with pytest.raises(InvalidRequest, match=r"setup\.json cannot be read"):
        merge(tmp_path / "merged", [sweep_folder / "out", tmp_path / "nothing"])


def test_times_of_two_devices_are_never_averaged(sweep_folder, tmp_path) -> None:
    """Each has its lines in the table, its panels in the plot and its pairs."""
    other = moved(sweep_folder / "out", tmp_path / "other", prompt="a fish", device="Faster GPU", speedup=1e6)
    rows, double = merge(tmp_path / "merged", [sweep_folder / "out", other])
    assert double == 0
    found = points(rows)
    fast = [point for point in found if point.device == "Faster GPU"]
    assert len(fast) == len(found) / 2
    assert {(p.speedup.low, p.speedup.high) for p in fast} == {(1e6, 1e6)}
    assert all(p.speedup.high < 1e6 for p in found if p not in fast)
    assert markdown(found).count(", on Faster GPU |") == len(fast)
    assert "Faster GPU" not in markdown(fast)
    plot(found, tmp_path / "two.png")
    contrasts = paired.contrasts("merged", rows, ["tome"], "todo")
    assert {contrast.device for contrast in contrasts} == {rows[0].device, "Faster GPU"}
    assert paired.markdown(contrasts).count(", on Faster GPU |") == len(contrasts) / 2


def test_rows_without_times_have_scores(sweep_folder, tmp_path) -> None:
    folder = moved(sweep_folder / "out", tmp_path / "shared", seconds=None, speedup=None)
    found = points(read_rows(folder, Row))
    assert {point.speedup for point in found} == {None}
    assert "| – |" in markdown(found)
    plot(found, tmp_path / "empty.png")


def test_a_folder_from_before_rows_named_their_device_is_brought_up_to_date(
    loaded, sweep_folder, tmp_path
) -> None:
    old = moved(sweep_folder / "out", tmp_path / "out", host=None, device=None, weights=None)
    setup = json.loads((old / "setup.json").read_text()) | {"hardware": "Old CPU", "threads": 2}
    (old / "setup.json").write_text(json.dumps(setup))
    with pytest.raises(InvalidRequest, match="python -m compare merge NEW"):
        merge(old, [sweep_folder / "out"])
    rows, _ = merge(tmp_path / "new" / "out", [old])
    assert {(row.device, row.weights) for row in rows} == {("Old CPU, 2 threads", setup["weights"])}
    assert read_sweep(tmp_path / "new" / "out")[1] == rows
    assert swept(loaded, tmp_path / "new") == rows


def moved(folder: Path, to: Path, **changes: object) -> Path:
    """A copy of a sweep's folder with the fields of its rows changed."""
    shutil.copytree(folder, to)
    rows = [json.loads(line) | changes for line in (folder / "rows.jsonl").read_text().splitlines()]
    # Prompts are part of the key: two changed alike would be one row.
    unique = {Row.model_validate(row).key: row for row in rows}
    (to / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unique.values()))
    return to
