"""hashcli search --html, --open, --show and --for: answers to be looked at."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import SKIMAGE, Run, json_rows
from tests.index.files.test_metadata import gps
from tests.terminal import on_terminal


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with captions beside them, indexed into `.hashcli`. Not to be changed."""
    home = tmp_path_factory.mktemp("album")
    for name, caption in (("chelsea", "a cat looks at you"), ("coffee", "a cup of coffee"), ("brick", "a red wall")):
        shutil.copy(SKIMAGE / f"{name}.png", home / f"{name}.png")
        (home / f"{name}.txt").write_text(caption + "\n")
    subprocess.run([sys.executable, "-m", "hashcli", "index", ".", "--index", ".hashcli"], cwd=home, check=True)
    return home


def test_a_photo_finds_its_caption_and_words_find_texts(hashcli: Run, album: Path) -> None:
    index = album / ".hashcli"
    (row,) = json_rows(
        hashcli("search", "--image", album / "chelsea.png", "--for", "texts", "-k", 1, "--json", "--index", index)
    )
    assert row["kind"] == "text"
    assert (row["text"], row["line"]) == ("a cat looks at you", 1)
    assert (row["path"], row["photo"]) == (str(album / "chelsea.txt"), str(album / "chelsea.png"))
    both = json_rows(
        hashcli("search", "a cup of coffee", "--for", "both", "-k", 2, "--all", "--json", "--index", index)
    )
    assert [(row["kind"], row["rank"]) for row in both] == [("image", 1), ("image", 2), ("text", 1), ("text", 2)]
    assert both[2]["distance"] <= 2  # the same words, written down
    only = hashcli("search", "a wall", "--for", "texts", "--in", album / "brick.png", "--json", "--index", index)
    assert [row["text"] for row in json_rows(only)] == ["a red wall"]


def test_a_terminal_shows_texts_in_a_table(album: Path, environment: dict[str, str]) -> None:
    shown = on_terminal(("search", "a cat", "--for", "texts"), album, environment | {"NO_COLOR": "1"})
    shown = re.sub(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[0-9;]*m", "", shown)  # links and weights
    assert re.search(r"text +from", shown)
    assert re.search(r"1 +\d+ +a cat looks at you +.*chelsea\.txt:1", shown)


def test_a_terminal_shows_places_where_they_are_asked_for(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "p").mkdir()
    place = gps((48, 51, 24), "N", (2, 21, 8), "E")
    Image.open(SKIMAGE / "chelsea.png").resize((60, 40)).save(tmp_path / "p" / "paris.jpg", exif=place)
    shutil.copy(SKIMAGE / "coins.png", tmp_path / "p")
    command = [sys.executable, "-m", "hashcli", "index", "p", "--index", "ix"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    arguments = ("search", "a cat", "--all", "--index", "ix")
    assert "geo:" not in on_terminal(arguments, tmp_path, environment)
    shown = on_terminal((*arguments, "--near", "48.86,2.35"), tmp_path, environment)
    assert re.search(r"\x1b\]8;[^;]*;geo:48.85667,2.35222\x1b", shown)  # a link
    assert "coins" not in shown


def test_a_page_of_pictures(hashcli: Run, album: Path, tmp_path: Path) -> None:
    done = hashcli(
        "search",
        "a cat",
        "--image",
        album / "coffee.png",
        "-k",
        2,
        "--html",
        "page.html",
        "--index",
        album / ".hashcli",
    )
    assert len(done.stdout.splitlines()) == 2  # the rows come as ever
    assert "page.html" in done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 3  # two answers, and the photo that was part of the query
    assert "a cat + " in page
    hashcli("search", "a cat", "--html", "no/page.html", "--index", album / ".hashcli", status=1)
    shutil.copy(album / "coffee.png", tmp_path / "coffee.png")
    hashcli("search", "a cat", "--html", "coffee.png", "--index", album / ".hashcli", status=2)
    assert (tmp_path / "coffee.png").read_bytes() == (album / "coffee.png").read_bytes()
    (tmp_path / "folder.html").mkdir()
    hashcli("search", "a cat", "--html", "folder.html", "--index", album / ".hashcli", status=1)


def test_a_page_is_opened_in_the_browser(hashcli: Run, album: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    hashcli("search", "a cat", "--open", "--index", album / ".hashcli", BROWSER=f"{browser} %s")
    opened = (tmp_path / "opened").read_text().strip()
    assert opened.startswith("file://")
    assert "chelsea.png" in Path(opened.removeprefix("file://")).read_text(encoding="utf-8")
    shutil.rmtree(Path(opened.removeprefix("file://")).parent)


def test_pictures_in_the_terminal(hashcli: Run, album: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("textual_image")
    shown = on_terminal(("search", "a cat", "--show"), album, environment | {"COLORTERM": "truecolor"})
    assert shown.count("▀") + shown.count("▄") > 100
    assert "38;2;" in shown  # in true colour
    assert "chelsea.png" in shown
    piped = hashcli("search", "a cat", "--show", "--index", album / ".hashcli").stdout
    assert piped == hashcli("search", "a cat", "--index", album / ".hashcli").stdout
    hashcli("search", "a cat", "--show", "--json", "--index", album / ".hashcli", status=2)
