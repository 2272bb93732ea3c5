"""hashcli index --ocr: the words in photos are read, and found."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import SKIMAGE, Run, json_rows
from tests.index.photographed import photograph


def test_a_receipt_is_found_by_a_word_on_it(hashcli_process: Run, hashcli: Run, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    (tmp_path / "p").mkdir()
    photograph(["Harbour Bookshop", "12 Quay Street, Tobermory", "Field guide    24.50"], tmp_path / "p" / "IMG_1.jpg")
    for name in ("chelsea.png", "coffee.png"):
        shutil.copy(SKIMAGE / name, tmp_path / "p")
    done = hashcli_process("index", "--ocr", "p", "--index", "ix")
    assert (done.stdout, done.stderr) == ("", "3 added, 0 skipped; texts: 1 added\n")
    for query in ("tobermory", "a receipt from Tobermory", "harbour bookshop", "24.50"):
        first = json_rows(hashcli("search", query, "--json", "--index", "ix"))[0]
        assert Path(first["path"]).name == "IMG_1.jpg"
        assert first["words"]
    (text,) = json_rows(hashcli("search", "a bookshop", "--for", "texts", "--json", "--index", "ix"))
    assert (Path(text["photo"]).name, "Field guide" in text["text"]) == ("IMG_1.jpg", True)
    assert "ocr          words in photos are read" in hashcli("info", "--index", "ix").stdout
    assert hashcli("index", "--index", "ix").stderr == "0 added, 3 unchanged, 0 skipped; texts: 1 unchanged\n"
    hashcli("index", "--no-ocr", "--index", "ix")
    assert json_rows(hashcli("search", "tobermory", "--words-only", "--json", "--index", "ix")) == []
    assert json_rows(hashcli("info", "--json", "--index", "ix"))[0]["reads_words"] is False


def test_without_the_extra_it_says_how_to_install_it(
    hashcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "p").mkdir()
    shutil.copy(SKIMAGE / "coffee.png", tmp_path / "p")
    done = hashcli("index", "--ocr", "p", "--index", "ix", status=1)
    assert "Reading the words in photos needs an extra that is not installed." in done.stderr
    assert "pip install '.[ocr]'" in done.stderr
    assert not (tmp_path / "ix").exists()
