"""The example that makes the tables of docs/results.md."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.datasets.layouts import make_mirflickr

pytest.importorskip("torch")

PROGRAM = Path(__file__).parents[2] / "examples" / "compare_methods.py"


def test_tables_are_of_the_runs_and_finished_runs_are_kept(
    tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    root = make_mirflickr(tmp_path / "data", photos=60)
    results = tmp_path / "results.md"
    results.write_text("Before.\n\n<!-- tables: begin -->\nold\n<!-- tables: end -->\n\nAfter.\n")

    def compare(status: int = 0) -> str:
        data = ("--mirflickr", root, "--teacher", tiny_model)
        settings = ("--bits", "16", "--seeds", "0", "--out", "table", "--results", results)
        command = [sys.executable, *map(str, (PROGRAM, *data, *settings))]
        done = subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stderr if status else results.read_text()

    text = compare()
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert "old" not in text
    assert "60 of 25,000 photos are on disk" in text
    measured = sorted((tmp_path / "table" / "mirflickr").glob("*/metrics.json"))
    assert len(measured) == 6
    of = {path.parent.name: json.loads(path.read_text()) for path in measured}
    for method in ("soda", "ckdh", "lcdh"):
        with_teacher, without = (
            next(row["value"] for row in of[f"{method}{name}-0"] if row["of"] == method and row["name"] == "mAP@all")
            for name in ("", "-without-teacher")
        )
        assert f"| {method.upper()} | {with_teacher:.3f} |" in text
        assert f"| {method.upper()} without its teacher | {without:.3f} |" in text
        assert f"| {method.upper()} | {with_teacher - without:+.3f} |" in text
    assert "| ITQ of the teacher | 0." in text

    made = [path.stat().st_mtime_ns for path in measured]
    measured[0].unlink()
    assert compare() == text
    assert [path.stat().st_mtime_ns for path in measured[1:]] == made[1:]

    (root / "mirflickr" / "im60.jpg").unlink()  # the finished runs are of other data now
    assert "other data" in compare(status=1)


def test_mean_and_sample_deviation_in_a_cell() -> None:
    cell = runpy.run_path(str(PROGRAM))["cell"]
    assert cell([0.5, 0.7], "") == "0.600 ± 0.141"
    assert cell([0.5], "+") == "+0.500"
