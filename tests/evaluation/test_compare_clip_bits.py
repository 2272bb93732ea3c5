"""The example that measures how much of a teacher's quality its codes keep."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")

from hashcli.datasets.registry import load_dataset
from hashcli.hashmodel.model import HashModel
from hashcli.index.search import Index
from tests.conftest import Run
from tests.datasets.layouts import make_flickr8k

PROGRAM = Path(__file__).parents[2] / "examples" / "compare_clip_bits.py"


@pytest.fixture
def program(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, with few sentences and short training; features are cached in the test's own home."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    spec = importlib.util.spec_from_file_location("compare_clip_bits", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look for it
    spec.loader.exec_module(module)
    sentences = [f"a {colour} {what}" for colour in ("red", "wet", "big") for what in ("cat", "dog", "rocket", "hat")]
    monkeypatch.setattr(module, "everyday_sentences", lambda: sentences)
    monkeypatch.setattr(module, "PREFIXES", {24: (16,)})
    resolve = module.resolve_settings
    short = {"itq": [], "rank": ["steps=20"]}
    monkeypatch.setattr(
        module,
        "resolve_settings",
        lambda method, **values: partial(resolve, assignments=short[method])(method=method, **values),
    )
    return module


def test_a_table_of_floats_codes_prefixes_and_models(
    program: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = make_flickr8k(tmp_path / "data", train=20, dev=20)

    def compare(*more: object) -> str:
        data = ("--teacher", tiny_model, "--evaluate", "flickr8k", root, "--bits", "16,24", "--seeds", "0,1")
        monkeypatch.setattr("sys.argv", [str(argument) for argument in (PROGRAM, *data, *more)])
        program.main()
        return capsys.readouterr().out

    def columns(text: str) -> list[list[str]]:
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]

    text = compare("--model", tiny_model, "--cache", tmp_path / "cache")
    assert "fitted on 20 photos without captions; recall@10 in % among 20 photos and 100 captions" in text
    rows = columns(text)[1:]
    assert [row[:2] for row in rows] == [
        ["float cosines", ""],
        ["itq", "16"],
        ["itq", "24"],
        ["rank", "16"],
        ["rank", "24"],
        ["rank, first 16 of 24", "16"],
        [str(tiny_model), "64"],
    ]
    assert all(" ± " in cell for row in rows[1:6] for cell in (row[2], row[4]))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")}
    folder = tmp_path / "data" / "Flicker8k_Dataset"  # it holds the evaluated photos as well
    again = compare("--photos", folder, "--cache", tmp_path / "cache")
    assert "fitted on 20 photos" in again
    assert columns(again)[1] == rows[0]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_order_is_that_of_a_search(program: ModuleType, hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    root = make_flickr8k(tmp_path / "data", train=1, dev=30)
    hashcli("index", root / "Flicker8k_Dataset", "--model", tiny_model, "--index", tmp_path / "ix")
    model = HashModel(tiny_model)
    photos = [str(photo) for photo in load_dataset("flickr8k", root).images]
    queries = ["a cat", "a rocket dog", "dog"]
    places = program.search(model.encode_texts(queries), model.encode_images(photos))
    with Index(tmp_path / "ix") as index:
        for query, found in zip(queries, places, strict=True):
            scores = model.encode_texts([query])[0] @ np.where(model.encode_images(photos) > 0, 1, -1).T
            answers = [str(answer.path) for answer in index.search(query, k=10, all_copies=True)]
            by_path = dict(zip(photos, scores, strict=True))
            assert [by_path[photos[place]] for place in found] == pytest.approx([by_path[one] for one in answers])


def test_recall_against_a_plain_loop(program: ModuleType) -> None:
    rng = np.random.default_rng(0)
    image, text, photo_of = rng.standard_normal((20, 64)), rng.standard_normal((60, 64)), np.arange(20).repeat(3)
    image, text = image.astype(np.float32), text.astype(np.float32)
    found = [photo_of[c] in np.argsort(-(np.where(image > 0, 1, -1) @ text[c]))[:10] for c in range(60)]
    described = [p in photo_of[np.argsort(-(np.where(text > 0, 1, -1) @ image[p]))[:10]] for p in range(20)]
    measured = program.recall(image, text, photo_of)
    assert (measured.text_to_image, measured.image_to_text) == (np.mean(found), np.mean(described))
