"""The commands of docs/scripts.md and docs/photos.md, and the code of docs/python.md, run as they stand there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PHOTOS, SKIMAGE


def recipes(page: str) -> list[tuple[str, str]]:
    """Headings and what stands below them to be run."""
    text = (Path(__file__).parent.parent / "docs" / page).read_text(encoding="utf-8")
    return [
        (heading, recipe)
        for heading, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        for recipe in re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    ]


RECIPES = recipes("scripts.md")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with real photos in Pictures, one of them twice, and an index of them. Not to be changed."""
    home = tmp_path_factory.mktemp("scripts")
    (home / "Pictures").mkdir()
    (home / "bin").mkdir()
    (home / "bin" / "hashcli").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hashcli "$@"\n')
    (home / "bin" / "hashcli").chmod(0o755)
    for name in PHOTOS:
        shutil.copy(SKIMAGE / name, home / "Pictures" / name)
    shutil.copy(SKIMAGE / "coffee.png", home / "Pictures" / "coffee (2).png")
    run("hashcli index --index .hashcli Pictures", home)  # it moves with the home
    return home


def run(script: str, home: Path) -> str:
    own = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "PATH": f"{home}/bin:{os.environ['PATH']}"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HASHCLI")} | own
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(printed: str) -> list[list[str]]:
    return [line.split("\t") for line in printed.splitlines()]


def near_ones(home: Path, printed: str) -> None:
    assert "Pictures/coffee.png" in printed.splitlines()


def json_rows(home: Path, printed: str) -> None:
    assert printed.splitlines()[0].startswith(f"1 {home.resolve()}/Pictures/chelsea.png")


def copied(home: Path, printed: str) -> None:
    assert (home / "cups" / "coffee.png").read_bytes() == (home / "Pictures" / "coffee.png").read_bytes()
    assert len(list((home / "cups").iterdir())) <= 3


def linked(home: Path, printed: str) -> None:
    links = list((home / "album of space").iterdir())
    assert 1 <= len(links) <= 4
    assert all(link.is_symlink() and link.exists() for link in links)


def tagged(home: Path, printed: str) -> None:
    ((rank, _, place, words),) = rows(printed)
    assert (rank, place, words) == ("1", "Pictures/chelsea.png.txt:1", "our cat Chelsea")


def refreshed(home: Path, printed: str) -> None:
    assert printed == ""
    assert (home / "hashcli.log").stat().st_size > 0


def listed(home: Path, printed: str) -> None:
    assert re.search(r"photos +[1-9]", printed)


def many(home: Path, printed: str) -> None:
    if not printed.startswith("{"):
        assert [row[0] for row in rows(printed)] == ["1", "1", "2", "2", "3", "3"]
        assert rows(printed)[0][3] == "Pictures/chelsea.png"
        return
    names = [Path(json.loads(line)["path"]).name for line in (home / "pictures.jsonl").read_text().splitlines()]
    found = [json.loads(line) for line in printed.splitlines()]
    assert [row["query"] for row in found] == list(range(1, len(names) + 1))
    assert found[names.index("coffee.png")]["text"] == "a cup of coffee on a table"


def put_aside(home: Path, printed: str) -> None:
    assert [path.name for path in (home / "extras").iterdir()] in (["coffee.png"], ["coffee (2).png"])


def page(home: Path, printed: str) -> None:
    written = (home / "page.html").read_text(encoding="utf-8")
    assert "chelsea.png" in written
    assert "stars and galaxies" in written
    assert {row[0] for row in rows((home / "rows.txt").read_text())} == {"1", "2"}


CHECKS: dict[str, list[Callable[[Path, str], None]]] = {
    "Rows": [near_ones, json_rows],
    "Copy what was found": [copied],
    "An album of links": [linked],
    "Tag photos": [tagged],
    "Keep an index up to date": [refreshed],
    "Index a list of files from another program": [listed],
    "Many searches at once": [many, many],
    "Move duplicates aside": [put_aside],
    "A page of pictures": [page],
}


def test_every_recipe_is_checked() -> None:
    assert [heading for heading, _ in RECIPES] == [heading for heading, checks in CHECKS.items() for _ in checks]


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe_does_what_it_says(home: Path, tmp_path: Path, number: int) -> None:
    own = Path(shutil.copytree(home, tmp_path / "home"))
    heading, recipe = RECIPES[number]
    earlier = [name for name, _ in RECIPES[:number]].count(heading)
    CHECKS[heading][earlier](own, run(recipe, own))


def test_the_guide_to_photos_can_be_followed(home: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(home, tmp_path / "home"))
    shutil.rmtree(own / ".hashcli")
    printed: dict[str, str] = {}
    for heading, recipe in recipes("photos.md"):
        printed[heading] = printed.get(heading, "") + run(recipe, own)
    assert "Pictures/coffee" in printed["Search by words, by a photo, by both"].splitlines()[0]
    assert "hubble_deep_field.jpg" in (own / "results.html").read_text(encoding="utf-8")
    assert rows(printed["Words for a photo"])[0][3] == "our cat on her favourite blanket"
    assert "coffee (2).png" in printed["Duplicates"]
    assert rows(printed["More than one collection"])[-1][2] == "chelsea.png"


def test_the_guide_to_python_can_be_followed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of its code, from top to bottom, as one program."""
    own = Path(shutil.copytree(home, tmp_path / "home"))
    monkeypatch.setenv("HOME", str(own))
    monkeypatch.chdir(own)
    text = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    exec(compile(code, "docs/python.md", "exec"), {"__name__": "guide"})
    printed = capsys.readouterr().out
    assert f"{len(PHOTOS) + 1} added, 0 moved, 0 removed" in printed
    assert "skipped: no/such/photo.jpg cannot be read" in printed
    assert "a cat 1 " in printed
    assert "coffee (2).png" in printed
    assert "There is no index in" in printed


def test_the_example_finds_photos(home: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(home, tmp_path / "home"))
    example = Path(__file__).parent.parent / "examples" / "search_from_python.py"
    command = f"PYTHONPATH={example.parent.parent} {sys.executable} {example} Pictures 'a cup of coffee'"
    assert "coffee" in run(command, own).splitlines()[0]
