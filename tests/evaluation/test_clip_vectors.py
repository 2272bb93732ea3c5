"""The example that makes the table of what a real CLIP teaches, in docs/results.md."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.layouts import make_flickr8k

pytest.importorskip("torch")

PROGRAM = Path(__file__).parents[2] / "examples" / "clip_vectors.py"


def test_the_table_is_of_the_photos_that_have_a_vector(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.syspath_prepend(PROGRAM.parent)
    spec = importlib.util.spec_from_file_location("clip_vectors", PROGRAM)
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "clip_vectors", program)
    spec.loader.exec_module(program)
    monkeypatch.setitem(program.SETTINGS, "epochs", 1)

    root = make_flickr8k(tmp_path / "data", train=12, dev=4)
    names = [f"photo{number}.jpg" for number in (*range(10), 12, 13, 99)]
    vectors = np.random.default_rng(0).standard_normal((len(names), 8))
    np.savez(tmp_path / "clip.npz", files=np.array(names), features=vectors)
    given = ("--flickr8k", root, "--vectors", tmp_path / "clip.npz", "--bits", "16", "--seeds", "0")
    where = ("--out", tmp_path / "runs", "--results", tmp_path / "results.md")
    monkeypatch.setattr("sys.argv", [str(argument) for argument in (PROGRAM, *given, *where)])
    program.main()

    split = json.loads((tmp_path / "runs" / "CLIP-0" / "split.json").read_text())
    assert split["query"] == ["photo12.jpg", "photo13.jpg"]
    assert sorted(split["train"] + split["validation"]) == names[:10]
    text = (tmp_path / "results.md").read_text()
    for folder, label in (("CLIP-0", "CLIP"), ("no-teacher-0", "no teacher")):
        rows = json.loads((tmp_path / "runs" / folder / "metrics.json").read_text())
        shown = [row["value"] for row in rows if row["of"] == "ckdh" and row["name"] == "recall@10"]
        assert len(shown) == 2
        for value in shown:
            assert f"| {label} | {value:.3f} |" in text
