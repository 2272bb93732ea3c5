"""hashcli search: photos that hold the words come first."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SKIMAGE, Run, json_rows
from tests.index.files.test_metadata import xmp


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos under names that say nothing of what they show, indexed into `ix`. Not to be changed."""
    home = tmp_path_factory.mktemp("album")
    (home / "Oberstdorf 2019").mkdir()
    (home / "other").mkdir()
    for name, stem in (("chelsea", "Oberstdorf 2019/a"), ("coffee", "other/IMG_4711"), ("coins", "other/receipt-2021")):
        shutil.copy(SKIMAGE / f"{name}.png", home / f"{stem}.png")
    shutil.copy(SKIMAGE / "brick.png", home / "other" / "b.png")
    (home / "other" / "b.txt").write_text("the house of Zo\u00eb\n")
    shutil.copy(SKIMAGE / "grass.png", home / "other" / "c.png")
    (home / "other" / "c.xmp").write_text(
        xmp("<dc:subject><rdf:Bag><rdf:li>Z\u00fcrich</rdf:li></rdf:Bag></dc:subject>")
    )
    command = [sys.executable, "-m", "hashcli", "index", "Oberstdorf 2019", "other", "--index", "ix"]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return home


@pytest.mark.parametrize(
    ("query", "photo", "words"),
    [
        ("Oberstdorf", "a.png", ["oberstdorf"]),
        ("img_4711", "IMG_4711.png", ["img", "4711"]),
        ("receipt 2021", "receipt-2021.png", ["receipt", "2021"]),
        ("the house of zoe", "b.png", ["house", "zoe"]),
        ("Zurich", "c.png", ["zurich"]),
        ("a car in Oberstdorf", "a.png", ["oberstdorf"]),
    ],
)
def test_a_name_in_a_caption_tag_file_or_folder_finds_its_photo(
    hashcli: Run, album: Path, query: str, photo: str, words: list[str]
) -> None:
    first, *others = json_rows(hashcli("search", query, "--json", "--index", album / "ix"))
    assert (Path(first["path"]).name, first["words"]) == (photo, words)
    assert all("words" not in row for row in others)
    only = json_rows(hashcli("search", query, "--json", "--words-only", "--index", album / "ix"))
    assert only == [first]
    off = json_rows(hashcli("search", query, "--json", "--all", "--no-words", "--index", album / "ix"))
    assert all("words" not in row for row in off)
    assert len(off) == (0 if query == "Oberstdorf" else 5)  # of which the model knows nothing


def test_words_of_rows_and_tables(hashcli_process: Run, hashcli: Run, album: Path) -> None:
    rows = hashcli_process("search", "Oberstdorf", "--index", album / "ix", cwd=album).stdout.splitlines()
    rank, _, path = rows[0].split("\t")
    assert (rank, path) == ("1", "Oberstdorf 2019/a.png")
    page = album / "page.html"
    hashcli("search", "Oberstdorf", "--html", page, "--index", album / "ix")
    assert "oberstdorf" in page.read_text()


def test_what_cannot_be_looked_for_by_words(hashcli: Run, album: Path, tiny_model: Path, tmp_path: Path) -> None:
    for other in ("--no-words", "--for texts", "--for both"):
        done = hashcli("search", "a", "--words-only", *other.split(), "--index", album / "ix", status=2)
        assert "--words-only" in done.stderr
    done = hashcli("search", "Nowhereville", "--words-only", "--index", album / "ix")
    assert (done.stdout, done.stderr) == ("", "No photos hold these words in their texts, name or folders.\n")
    for query, *bound in (("Oberstdorf", "--in", album / "other"), ("house", "--max-distance", 0)):
        done = hashcli("search", query, "--words-only", *bound, "--index", album / "ix")
        assert done.stderr.startswith("No photos that the filters and the limit leave hold these words")
    done = hashcli("search", "--image", album / "other" / "b.png", "--words-only", "--index", album / "ix")
    assert "No photos hold these words" in done.stderr


def test_words_that_the_model_does_not_know_but_a_photo_holds(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name in ("chelsea", "coins"):
        shutil.copy(SKIMAGE / f"{name}.png", tmp_path / "p")
    hashcli("index", "p", "--model", tiny_model, "--index", "ix")
    done = hashcli("search", "chelsea", "--index", "ix")
    assert done.stdout == "1\t-\tp/chelsea.png\n"
    assert "None of the words is known to" in done.stderr
    (row,) = json_rows(hashcli("search", "chelsea", "--json", "--index", "ix"))
    assert (row["distance"], row["similarity"], row["words"]) == (None, None, ["chelsea"])
    done = hashcli("search", "a cat chelsea", "--index", "ix")
    assert done.stdout.startswith("1\t")
    assert "not known" not in done.stderr  # the word was found, if not by its meaning
    done = hashcli("search", "a cat chelsea tobermory", "--all", "--index", "ix")
    assert "These words are not known to tiny: tobermory\n" in done.stderr
