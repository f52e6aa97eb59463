"""tools/run_tests.py: counts are read from pytest's own closing lines and added up right."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.run_tests import closing_counts, closing_line, parts


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("===== 12 passed in 0.50s =====", {"passed": 12}),
        ("12 passed, 1 warning in 0.50s", {"passed": 12, "warnings": 1}),
        ("=== 1 failed, 2 passed, 3 skipped, 4 deselected, 1 error in 75.01s (0:01:15) ===",
         {"failed": 1, "passed": 2, "skipped": 3, "deselected": 4, "errors": 1}),
        ("===== no tests ran in 0.01s =====", {}),
        ("waited 3 s in vain", None),
        ("collected 12 items", None),
        ("test/unit/test_x.py::test_a PASSED", None),
        ("==== short test summary info ====", None),
    ],
)  # fmt: skip
def test_closing_lines_are_understood(line: str, expected: dict[str, int] | None) -> None:
    assert closing_counts(line) == expected


def test_what_is_written_is_read_again() -> None:
    counts = Counter(failed=1, passed=1200, skipped=2, warnings=1, errors=3)
    line = closing_line(counts, 61.5)
    assert line.strip("= ") == "1 failed, 1200 passed, 2 skipped, 1 warning, 3 errors in 61.50s"
    assert closing_counts(line) == counts


def test_every_test_runs_once_on_the_first_distribution_and_ros_on_all() -> None:
    planned = parts(["kilted", "jazzy", "humble"])
    assert [part.distro for part in planned] == ["kilted", "kilted", "kilted", "jazzy", "humble"]
    markers = [part.arguments[1] for part in planned[:3]]
    assert markers[1:] == [f"not ({markers[0]}) and not alone", f"not ({markers[0]}) and alone"]
    assert all(part.arguments[0] == "test/ros" for part in planned[3:])
