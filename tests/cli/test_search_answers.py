"""What hashcli search takes for a photo, how it shows identical copies, and results by date."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import PHOTOS, Run, json_rows
from tests.terminal import shown_in_terminal


@pytest.fixture
def index(hashcli: Run, photos: Path, tiny_model: Path) -> str:
    """An index of the photos, two of them with a date inside, and of two copies of one."""
    for name, date in (("chelsea", "2013:05:14 10:00:00"), ("coffee", "2020:01:02 10:00:00")):
        exif = Image.Exif()
        exif[0x0132] = date
        with Image.open(photos / f"{name}.png") as photo:
            photo.convert("RGB").save(photos / f"{name}.png", exif=exif)
    for number, copy in enumerate(("copy.png", "trip/copy.png"), start=1):
        shutil.copy(photos / "chelsea.png", photos / copy)
        os.utime(photos / copy, (2_000_000_000 + number,) * 2)  # younger
    hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    return "ix"


# --- a photo file is a photo to search by ---


def test_a_file_that_is_there_is_a_photo(hashcli: Run, index: str) -> None:
    done = hashcli("search", "photos/coffee.png", "--index", index, "--json")
    assert json_rows(done) == json_rows(hashcli("search", "--image", "photos/coffee.png", "--index", index, "--json"))
    assert json_rows(done)[0]["distance"] == 0
    assert done.stderr == (
        "Searching by the photo photos/coffee.png. For these words instead: --text photos/coffee.png\n"
    )
    both = hashcli("search", "photos/coffee.png", "cat", "--index", index).stdout
    assert both == hashcli("search", "--image", "photos/coffee.png", "--text", "cat", "--index", index).stdout


def test_words_that_are_no_photo_file_stay_words(hashcli: Run, index: str, tmp_path: Path) -> None:
    (tmp_path / "cat").write_text("a file without a photo's ending")
    (tmp_path / "rocket.jpg").mkdir()
    words = hashcli("search", "cat", "--index", index)
    assert words.stderr == "Identical copies that are not shown: 2. --all-copies shows them.\n"
    assert hashcli("search", "--text", "cat", "--index", index).stdout == words.stdout
    assert "Searching by the photo" not in hashcli("search", "./cat", "--index", index).stderr
    by_name = hashcli("search", "--text", "photos/coffee.png", "--all", "--index", index, "--json")
    assert json_rows(by_name) != json_rows(hashcli("search", "photos/coffee.png", "--index", index, "--json"))
    done = hashcli("search", "rocket.jpg", "--index", index)
    assert "rocket.jpg is searched for as words, as there is no such file." in done.stderr
    done = hashcli("search", "photos/cofee.png", "--index", index)
    assert "no such file. Did you mean photos/coffee.png?" in done.stderr
    assert "searched for as words" not in hashcli("search", "a cat.", "--index", index).stderr


def test_in_a_batch_words_stay_words(hashcli: Run, index: str) -> None:
    done = hashcli("search", "--batch", "-", "--index", index, "--json", stdin="photos/coffee.png\n")
    assert all(row["distance"] != 0 for row in json_rows(done))
    assert "Searching by the photo" not in done.stderr


# --- identical copies ---


def test_copies_are_counted_and_shown_on_demand(hashcli: Run, index: str, photos: Path) -> None:
    query = ("search", photos / "chelsea.png", "--index", index, "-k", len(PHOTOS) + 2)
    rows = json_rows(hashcli(*query, "--json"))
    assert len(rows) == len({row["path"] for row in rows}) == len(PHOTOS)
    assert (rows[0]["path"], rows[0]["copies"]) == (str(photos / "chelsea.png"), 2)
    assert all("copies" not in row for row in rows[1:])
    every = hashcli(*query, "--all-copies")
    assert len(every.stdout.splitlines()) == len(PHOTOS) + 2
    assert "Identical copies" not in every.stderr
    paths = hashcli(*query, "--paths")
    assert len(paths.stdout.splitlines()) == len(PHOTOS)
    assert "Identical copies that are not shown: 2. --all-copies shows them." in paths.stderr


# --- by date ---


def test_sorted_by_date(hashcli: Run, index: str) -> None:
    query = ("search", "photos/chelsea.png", "--index", index, "-k", 4, "--json")
    best = json_rows(hashcli(*query))
    rows = json_rows(hashcli(*query, "--sort", "date"))
    assert sorted(rows, key=lambda row: row["rank"]) == best
    dates = [row.get("taken") or row["modified"] for row in rows]
    assert dates == sorted(dates, reverse=True)
    assert "2013-05-14T10:00:00" in dates
    assert "texts have no date" in hashcli("search", "cat", "--for", "texts", "--sort", "date", status=2).stderr


def test_a_terminal_shows_dates_and_copies(index: str, tmp_path: Path, environment: dict[str, str]) -> None:
    shown = shown_in_terminal(["search", "photos/chelsea.png", "--index", index], tmp_path, environment)
    assert max(map(len, shown.splitlines())) <= 80
    row = next(line for line in shown.splitlines() if "chelsea.png  " in line)
    assert re.fullmatch(r" +1 +0   2013-05-14 +photos/chelsea.png  \+2 identical *", row)
    assert re.search(r"   \(20\d\d-\d\d-\d\d\)   photos/grass.png", shown)  # only the time of the file is known


def test_a_text_search_of_plain_words_loads_no_list_of_formats(index: str, tmp_path: Path) -> None:
    program = (
        "import sys, atexit; atexit.register(lambda: print('PIL' in sys.modules)); "
        f"sys.argv = ['hashcli', 'search', 'a', 'cat.', '--index', {index!r}]; from hashcli.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
