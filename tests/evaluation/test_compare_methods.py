"""The example that makes the tables of docs/results.md."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.datasets.layouts import make_mirflickr

pytest.importorskip("torch")

PROGRAM = Path(__file__).parents[2] / "examples" / "compare_methods.py"


@pytest.fixture
def program(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, its runs as short as can be; features are cached in the test's own home."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    spec = importlib.util.spec_from_file_location("compare_methods", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(module.SETTINGS, "mirflickr", {"validate_every": 0, "epochs": 1, "rounds": 1, "round_steps": 2})
    return module


def test_tables_are_of_the_runs_and_finished_runs_are_kept(
    program: ModuleType, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_mirflickr(tmp_path / "data", photos=60)
    results = tmp_path / "results.md"
    results.write_text("Before.\n\n<!-- tables: begin -->\nold\n<!-- tables: end -->\n\nAfter.\n")

    def compare() -> str:
        data = ("--mirflickr", root, "--teacher", tiny_model)
        settings = ("--bits", "16", "--seeds", "0", "--out", tmp_path / "table", "--results", results)
        monkeypatch.setattr("sys.argv", [str(argument) for argument in (PROGRAM, *data, *settings)])
        program.main()
        return results.read_text()

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

    written = [path.stat().st_mtime_ns for path in measured]
    measured[0].unlink()
    assert compare() == text
    assert [path.stat().st_mtime_ns for path in measured[1:]] == written[1:]

    (root / "mirflickr" / "im60.jpg").unlink()  # the finished runs are of other data now
    with pytest.raises(SystemExit, match="other data"):
        compare()


def test_mean_and_sample_deviation_in_a_cell(program: ModuleType) -> None:
    assert program.cell([0.5, 0.7], "") == "0.600 ± 0.141"
    assert program.cell([0.5], "+") == "+0.500"
