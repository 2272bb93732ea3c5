"""The example that searches settings on validation photos."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.datasets.layouts import make_mirflickr

pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def program(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.reload(importlib.import_module("search_settings"))


def search(program: ModuleType, monkeypatch: pytest.MonkeyPatch, model: Path, *arguments: object) -> None:
    short = ("--teacher", model, "--bits", "16", "--set", f"student={model}", "--set", "epochs=1", "--set", "hidden=16")
    monkeypatch.setattr("sys.argv", [str(one) for one in ("search_settings.py", *short, *arguments)])
    program.main()


def test_combinations_are_tried_once_and_the_query_set_never(
    program: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, out = make_mirflickr(tmp_path / "data", photos=60), tmp_path / "search.jsonl"
    from hashcli.datasets.registry import load_dataset
    from hashcli.datasets.splits import make_split
    from hashcli.evaluation import retrieval

    queries = make_split(load_dataset("mirflickr", root), 0).query
    searched: list[np.ndarray] = []
    directions = retrieval.DatasetCodes.directions

    def kept(self: retrieval.DatasetCodes, query: np.ndarray, database: np.ndarray) -> object:
        searched.extend((query, database))
        return directions(self, query, database)

    monkeypatch.setattr(retrieval.DatasetCodes, "directions", kept)
    given = ("--dataset", "mirflickr", "--root", root, "--method", "ckdh", "--out", out)
    search(program, monkeypatch, tiny_model, *given, "--try", "kappa=0.5,2")
    assert searched
    assert not any(np.isin(queries, rows).any() for rows in searched)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["settings"]["kappa"] for line in lines] == [0.5, 2.0]
    assert all(line["validation"].keys() == {"image to text", "text to image"} for line in lines)
    capsys.readouterr()

    out.write_text(out.read_text() + '{"half a li')  # killed while it wrote
    search(program, monkeypatch, tiny_model, *given, "--try", "kappa=0.5,2,3")
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert again[:2] == lines
    assert [line["settings"]["kappa"] for line in again[2:]] == [3.0]
    shown = capsys.readouterr()
    assert "3 of 3: kappa=3, seed 0: image to text 0." in shown.err
    heading, *rows = [row.split("\t") for row in shown.out.splitlines()]
    assert heading == ["mean", "image to text", "text to image", "settings"]
    best = max(again, key=lambda line: sum(line["validation"].values()))
    assert rows[0][3] == f"kappa={best['settings']['kappa']:g}"
    assert float(rows[0][0]) == pytest.approx(np.mean([float(one) for one in rows[0][1:3]]), abs=1e-4)
    assert [float(row[0]) for row in rows] == sorted((float(row[0]) for row in rows), reverse=True)


def test_combinations_are_all_or_drawn(program: ModuleType) -> None:
    tried = [("kappa", ["0.5", "2"]), ("epochs", ["1", "2", "3"])]
    every = list(program.combinations(tried, None))
    assert len(every) == 6
    assert every[0] == {"kappa": "0.5", "epochs": "1"}
    drawn = list(program.combinations(tried, 4))
    assert drawn == list(program.combinations(tried, 4))
    assert len({tuple(one.items()) for one in drawn}) == 4
    assert list(program.combinations([], None)) == [{}]  # the defaults


def test_a_wrong_setting_is_refused_before_anything_is_trained(
    program: ModuleType, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashcli.errors import HashcliError

    root = make_mirflickr(tmp_path / "data", photos=60)
    given = ("--dataset", "mirflickr", "--root", root, "--method", "ckdh", "--out", tmp_path / "search.jsonl")
    with pytest.raises(HashcliError, match="kappa must be from 0 to"):
        search(program, monkeypatch, tiny_model, *given, "--try", "kappa=0.5,-2")
    with pytest.raises(HashcliError, match="there is no setting 'kapa'"):
        search(program, monkeypatch, tiny_model, *given, "--try", "kapa=1")
    assert not (tmp_path / "search.jsonl").exists()
