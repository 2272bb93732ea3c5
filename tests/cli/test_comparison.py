"""hashcli evaluate --compare."""

import sys
from pathlib import Path

import pytest

from hashcli.cli.comparison import compare_runs
from tests.cli.test_run_progress import Terminal
from tests.conftest import Run, json_rows
from tests.evaluation.saved import save_codes, save_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """CKDH with and without its teacher, two seeds of each."""
    for seed in (0, 1):
        save_run(tmp_path / "runs" / f"ckdh-{seed}", seed, value=0.5 + 0.1 * seed)
        save_run(tmp_path / "runs" / f"without-{seed}", seed, value=0.4 + 0.05 * seed, distil=False)
        save_codes(tmp_path / "runs" / f"ckdh-{seed}" / "codes-16.npz", seed)
        save_codes(tmp_path / "runs" / f"without-{seed}" / "codes-16.npz", seed + 5)
    return tmp_path / "runs"


def test_runs_are_given_as_the_shell_gives_them(hashcli: Run, runs: Path) -> None:
    """One --compare takes them all; a folder of runs stands for them; or --compare is repeated."""
    done = hashcli("evaluate", "--compare", *sorted(runs.iterdir()))
    assert done.stdout.splitlines()[0].split("\t") == [
        *("ckdh", "16 bits", "image to text", "mAP@all", "mean 0.5500", "sd 0.0707", "seeds 2", "chance 0.3000"),
        *("gain +0.1250", "sd 0.0354"),
    ]
    assert len(done.stdout.splitlines()) == 8
    assert hashcli("evaluate", "--compare", runs).stdout == done.stdout
    repeated = [argument for run in sorted(runs.iterdir()) for argument in ("--compare", run)]
    assert hashcli("evaluate", *repeated).stdout == done.stdout
    assert "dataset mine, protocol ours" in done.stderr


def test_as_json_each_seed_is_there(hashcli: Run, runs: Path) -> None:
    row, *_ = json_rows(hashcli("evaluate", "--compare", runs, "--json", "--baseline", "ckdh, distil=false"))
    assert row["values"] == {"0": 0.5, "1": 0.6}
    assert row["baseline"] == "ckdh, distil=false"
    assert row["gain"]["values"] == pytest.approx({"0": 0.1, "1": 0.15})


def test_rows_of_latex(hashcli: Run, runs: Path) -> None:
    lines = hashcli("evaluate", "--compare", runs, "--latex").stdout.splitlines()
    assert lines[:5] == [
        "% image to text, mAP@all; bits: 16, 32",
        r"ckdh & .550 $\pm$ .071 & .550 $\pm$ .071 \\",
        r"  gain over ckdh, distil=false & +.125 $\pm$ .035 & +.125 $\pm$ .035 \\",
        r"ckdh, distil=false & .425 $\pm$ .035 & .425 $\pm$ .035 \\",
        r"chance & .300 & .300 \\",
    ]


def test_both_databases_stand_together(hashcli: Run, tmp_path: Path) -> None:
    for seed in (0, 1):
        save_run(tmp_path / "runs" / f"ckdh-{seed}", seed, value=0.5, unseen=0.4)
        save_run(tmp_path / "runs" / f"without-{seed}", seed, value=0.5, unseen=0.3, distil=False)
    lines = hashcli("evaluate", "--compare", "runs", "--latex").stdout.splitlines()
    assert lines[0] == "% image to text, mAP@all; bits: 16, 32"
    names = [line.partition(" & ")[0:3:2] for line in lines[1:9]]
    assert [(name, rest.split()[0]) for name, rest in names] == [
        ("ckdh", ".500"),
        ("  gain over ckdh, distil=false", "+.000"),
        ("  in the unseen database", ".400"),
        ("  gain over ckdh, distil=false", "+.100"),
        ("ckdh, distil=false", ".500"),
        ("  in the unseen database", ".300"),
        ("chance", ".300"),
        ("  in the unseen database", ".300"),
    ]
    assert lines[9] == "% text to image, mAP@all; bits: 16, 32"
    rows = json_rows(hashcli("evaluate", "--compare", "runs", "--json"))
    assert {row["direction"]: row["mean"] for row in rows if row["runs"] == "ckdh"} == {
        **dict.fromkeys(("image to text", "text to image"), 0.5),
        **dict.fromkeys(("image to text, unseen database", "text to image, unseen database"), 0.4),
    }


def test_a_table_fits_a_terminal_of_80_columns(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    compare_runs([runs])
    shown = stdout.getvalue().splitlines()
    assert shown[0].split("  ")[0] == "image to text, mAP@all"
    assert any(line.startswith("ckdh ") and line.count(".550 ± .071") == 2 for line in shown)
    assert max(map(len, shown)) <= 80


def test_joint_curves_are_drawn(hashcli: Run, runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = hashcli("evaluate", "--compare", runs, "--plots", "drawn")
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == ["precision-at-n-16.png", "precision-recall-16.png"]
    assert "32 bits: there are no curves to draw" in done.stderr


def test_an_unfinished_run_is_named_and_left_out(hashcli: Run, runs: Path) -> None:
    (runs / "ckdh-1" / "metrics.json").unlink()
    done = hashcli("evaluate", "--compare", runs)
    assert "ckdh-1 is left out: it is not finished" in done.stderr
    assert "mean 0.5000\tsd -\tseeds 1" in done.stdout


@pytest.mark.parametrize("arguments", [("--compare", ".", "--dataset", "mirflickr"), ("--latex",)])
def test_wrong_usage(hashcli: Run, arguments: tuple[str, ...]) -> None:
    assert "--compare" in hashcli("evaluate", *arguments, status=2).stderr
