from pathlib import Path

import pytest

from hydra_plugins.paredown_sweeper._outcome import read_outcome
from paredown.run.results import (
    RESULT,
    own_overrides,
    read_result,
    read_results,
    rounded,
    where_line,
    write_result,
)


def test_results_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 0):
        (tmp_path / str(number)).mkdir()
        write_result(tmp_path / str(number), {"status": "FINISHED", "rows": [{"params": number}]})
    jobs = read_results(tmp_path)
    assert [job["number"] for job in jobs] == [0, 9, 10]
    assert [job["rows"][0]["params"] for job in jobs] == [0, 9, 10]


def test_metrics_are_rounded_to_what_their_interval_carries() -> None:
    of_digits = {"accuracy": 0.9777777, "accuracy_low": 0.9567, "accuracy_high": 0.9887}
    assert rounded(of_digits) == {
        "accuracy": 0.978, "accuracy_low": 0.957, "accuracy_high": 0.989
    }  # fmt: skip
    many = {"accuracy": 0.9777777, "accuracy_low": 0.9747, "accuracy_high": 0.9805}
    assert rounded(many)["accuracy"] == 0.9778
    assert rounded({"speedup": 1.16662, "speedup_low": 1.16655, "speedup_high": 1.1667}) == {
        "speedup": 1.167, "speedup_low": 1.167, "speedup_high": 1.167
    }  # fmt: skip
    assert rounded({"speedup": 10.0613, "speedup_low": 8.752, "speedup_high": 11.563}) == {
        "speedup": 10.1, "speedup_low": 8.8, "speedup_high": 11.6
    }  # fmt: skip
    alone = {"latency_ms": 0.121734, "size_mb": 0.800947, "params": 589498, "zeros": 0.0}
    assert rounded(alone) == {
        "latency_ms": 0.1217, "size_mb": 0.8009, "params": 589498, "zeros": 0.0
    }  # fmt: skip
    assert rounded({"speedup": 1.0, "speedup_low": 1.0, "speedup_high": 1.0})["speedup"] == 1.0


def test_the_line_below_a_table_says_where_and_nothing_where_that_is_unknown() -> None:
    tags = {"cpu": "CPU", "int8_instructions": "avx2", "runtime": "ort, 1 threads"}
    assert (
        where_line(tags | {"made_by": "ort 1"}) == "where:   CPU with avx2; ort, 1 threads; ort 1"
    )
    assert where_line(tags) == ""


def test_folders_that_are_no_jobs_are_passed_over(tmp_path: Path) -> None:
    for name in ("0", "picked", "1"):
        (tmp_path / name).mkdir()
    write_result(tmp_path / "0", {"status": "FINISHED"})
    write_result(tmp_path / "picked", {"status": "FINISHED"})
    assert read_results(tmp_path) == [{"number": 0, "status": "FINISHED"}]


def test_a_later_result_takes_the_place_of_the_earlier_and_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    for status in ("FAILED", "FINISHED"):
        write_result(tmp_path / "0", {"status": status})
    assert read_results(tmp_path)[0]["status"] == "FINISHED"
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["result.json"]


def test_only_a_job_that_finished_is_gone_on_from(tmp_path: Path) -> None:
    assert read_result(tmp_path) == {}
    write_result(tmp_path, {"status": "FAILED", "error": "the loss became nan"})
    assert read_result(tmp_path) == {}
    write_result(tmp_path, {"status": "FINISHED", "rows": []})
    assert read_result(tmp_path) == {"status": "FINISHED", "rows": []}


def test_what_the_sweep_added_is_not_what_a_person_asked() -> None:
    assert own_overrides(["seed=1", "tracking.parent=abc"]) == ["seed=1"]


@pytest.mark.parametrize("content", [b"", b'{"status": "FINI', b"null", b"[]", b"\xff\xfe", b"{}"])
def test_a_result_that_cannot_be_read_is_one_that_is_not_there(
    tmp_path: Path, content: bytes
) -> None:
    for number in ("0", "1"):
        (tmp_path / number).mkdir()
    write_result(tmp_path / "1", {"status": "FINISHED", "rows": []})
    (tmp_path / "0" / RESULT).write_bytes(content)
    assert read_result(tmp_path / "0") == {}
    assert [job["number"] for job in read_results(tmp_path)] == [1]
    assert read_outcome(tmp_path / "0", ["accuracy"]).error is not None


def test_a_folder_that_went_is_made_again_for_the_result(tmp_path: Path) -> None:
    write_result(tmp_path / "gone" / "0", {"status": "FINISHED"})
    assert read_result(tmp_path / "gone" / "0") == {"status": "FINISHED"}
