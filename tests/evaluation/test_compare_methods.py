"""The example that makes the tables of docs/results.md."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.datasets.layouts import make_flickr8k, make_mirflickr

pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = ("epochs=1", "rounds=1", "round_steps=2", "hidden=16", "steps=20", "labelled_steps=1")

Compare = Callable[..., str]


@pytest.fixture
def program(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, its jobs in this process; features are cached in the test's own home."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.syspath_prepend(EXAMPLES)
    jobs = importlib.reload(importlib.import_module("method_jobs"))
    monkeypatch.setattr(jobs, "CACHE", Path(environment["XDG_DATA_HOME"]) / "features")
    return importlib.reload(importlib.import_module("compare_methods"))


@pytest.fixture
def compare(program: ModuleType, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Make tables with a tiny model, 16 bits and few steps; gives the text of the results."""

    def run(*arguments: object, in_process: bool = True) -> str:
        if in_process:
            job = importlib.import_module("method_jobs").Job
            monkeypatch.setattr(job, "run", lambda self: importlib.import_module("method_jobs").run_job(self) is None)
        results = tmp_path / "results.md"
        settings = [part for one in (*SHORT, f"student={tiny_model}") for part in ("--set", one)]
        always = ("--teacher", tiny_model, "--bits", "16", "--label-bits", "16", "--seeds", "0", *settings)
        where = ("--out", tmp_path / "table", "--results", results)
        monkeypatch.setattr("sys.argv", [str(one) for one in ("compare_methods.py", *arguments, *always, *where)])
        program.main()
        return results.read_text()

    return run


def values_of(folder: Path, of: str, direction: str, name: str = "mAP@all") -> float:
    rows = json.loads((folder / "metrics.json").read_text())
    (value,) = [row["value"] for row in rows if (row["of"], row["direction"], row["name"]) == (of, direction, name)]
    return float(value)


def test_tables_are_of_the_runs_and_finished_runs_are_kept(compare: Compare, tmp_path: Path) -> None:
    root = make_mirflickr(tmp_path / "data", photos=60)
    results = tmp_path / "results.md"
    results.write_text("Before.\n\n<!-- mirflickr: begin -->\nold\n<!-- mirflickr: end -->\n\nAfter.\n")
    given = ("--mirflickr", root, "--tables", "a", "--variants", "SODA,SODA in one stage,baselines")
    text = compare(*given)
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert "old" not in text
    assert "60 of 25,000 photos are on disk" in text
    folders = sorted(path.parent for path in (tmp_path / "table" / "mirflickr").glob("*/*/metrics.json"))
    assert [folder.relative_to(tmp_path / "table" / "mirflickr").as_posix() for folder in folders] == [
        *("baselines/16-0", "soda/16-0", "soda-in-one-stage/16-0")
    ]
    untrained, soda, one_stage = folders
    for way in ("image to text", "text to image, unseen database"):
        full, ablation = (values_of(folder, "soda", way) for folder in (soda, one_stage))
        assert f"| SODA | {full:.3f} |" in text
        assert f"| SODA in one stage | {ablation:.3f} ({ablation - full:+.3f}) |" in text
        for of in ("ITQ of the teacher", "rank of the teacher"):
            assert f"| {of} | {values_of(untrained, of, way):.3f} |" in text
    assert not list(tmp_path.glob("table/**/model.json"))

    written = [(folder / "metrics.json").stat().st_mtime_ns for folder in folders]
    (folders[0] / "metrics.json").unlink()
    assert compare(*given) == text
    assert [(folder / "metrics.json").stat().st_mtime_ns for folder in folders[1:]] == written[1:]

    (root / "mirflickr" / "im60.jpg").unlink()  # the finished runs are of other data now
    from hashcli.errors import HashcliError

    with pytest.raises(HashcliError, match="other data"):
        compare(*given)


def test_few_labels_are_a_table_and_a_picture_and_share_runs_with_the_first_table(
    program: ModuleType, compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(program, "SHARES", (0.3, 0.5, 1.0))  # 3 % of these few photos are none
    root = make_mirflickr(tmp_path / "data", photos=60)
    given = ("--mirflickr", root, "--variants", "LCDH,LCDH without its teacher")
    compare(*given, "--tables", "a")
    finished = tmp_path / "table" / "mirflickr" / "lcdh" / "16-0" / "metrics.json"
    before = finished.stat().st_mtime_ns
    text = compare(*given, "--tables", "b")
    assert finished.stat().st_mtime_ns == before
    assert "| image to text, unseen database: share of labels | 30 % | 50 % | 100 % |" in text
    value = values_of(tmp_path / "table" / "mirflickr" / "lcdh-at-50-of-the-labels" / "16-0", "lcdh", "image to text")
    assert f" | {value:.3f} | {values_of(finished.parent, 'lcdh', 'image to text'):.3f} |" in text
    assert (tmp_path / "few-labels.png").stat().st_size > 10_000


def test_captions_and_vectors_of_a_clip(compare: Compare, tmp_path: Path) -> None:
    root = make_flickr8k(tmp_path / "data", train=12, dev=4)
    names = [f"photo{number}.jpg" for number in (*range(10), 12, 13, 99)]
    vectors = np.random.default_rng(0).standard_normal((len(names), 8))
    np.savez(tmp_path / "clip.npz", files=np.array(names), features=vectors)
    given = ("--flickr8k", root, "--vectors", tmp_path / "clip.npz", "--tables", "c,d")
    text = compare(*given, "--variants", "CKDH,CLIP,no teacher")
    runs = tmp_path / "table"
    captions = values_of(runs / "flickr8k" / "ckdh" / "16-0", "ckdh", "text to image", "recall@10")
    assert f"| CKDH | {captions:.3f} |" in text
    split = json.loads((runs / "flickr8k-clip" / "clip" / "16-0" / "split.json").read_text())
    assert split["query"] == ["photo12.jpg", "photo13.jpg"]
    assert sorted(split["train"] + split["validation"]) == names[:10]
    clip, alone = (
        values_of(runs / "flickr8k-clip" / name / "16-0", "ckdh", "text to image", "recall@10")
        for name in ("clip", "no-teacher")
    )
    assert f"| CLIP | {clip:.3f} |" in text
    assert f"| no teacher | {alone:.3f} ({alone - clip:+.3f}) |" in text


def test_a_job_is_a_process_whose_time_is_noted(compare: Compare, tmp_path: Path) -> None:
    root = make_mirflickr(tmp_path / "data", photos=60)
    given = ("--mirflickr", root, "--tables", "a", "--variants", "LCDH without its teacher")
    text = compare(*given, in_process=False)
    folder = tmp_path / "table" / "mirflickr" / "lcdh-without-its-teacher" / "16-0"
    seconds = json.loads((folder / "cpu.json").read_text())["seconds"]
    assert seconds > 0
    value = values_of(folder, "lcdh", "image to text")
    assert f"| LCDH without its teacher | {value:.3f} | {seconds:.0f} |" in text
    (folder / "run.json").write_text("{}")  # it cannot go on: the other tables are made, and the command fails
    (folder / "metrics.json").unlink()
    with pytest.raises(SystemExit, match="1 of the runs failed"):
        compare(*given, in_process=False)


def test_mean_and_sample_deviation_in_a_cell(program: ModuleType) -> None:
    assert program.cell({0: 0.5, 1: 0.7}) == "0.600 ± 0.141"
    assert program.cell({0: 0.5, 1: 0.7, 2: 0.3}, {0: 0.6, 1: 0.6}) == "0.500 (+0.000 ± 0.141)"
    assert program.cell({0: 0.5}, {0: 0.6}) == "0.500 (-0.100)"
    assert program.cell({}) == ""
