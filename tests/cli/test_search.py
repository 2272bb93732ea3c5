"""hashcli search, through the command, with the hash model that ships."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import PHOTOS, Run, json_rows
from tests.terminal import shown_in_terminal


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real photos, indexed with lite-256 into `ix` beside it. Not to be changed."""
    from tests.conftest import SKIMAGE

    home = tmp_path_factory.mktemp("album")
    (home / "photos").mkdir()
    for name in PHOTOS:
        shutil.copy(SKIMAGE / name, home / "photos" / name)
    command = [sys.executable, "-m", "hashcli", "index", "photos", "--index", "ix"]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return home


@pytest.fixture
def own_album(album: Path, tmp_path: Path) -> Path:
    """A copy of the album that a test may change: the index moves with its photos."""
    return Path(shutil.copytree(album, tmp_path / "album"))


def test_words_find_the_photo_they_describe(hashcli: Run, album: Path) -> None:
    """Each of a dozen photos by plain words: the right one first for most, among the first three for nearly all."""
    ranks = []
    for name, words in PHOTOS.items():
        found = hashcli(
            "search", "--text", words, "--paths", "-k", len(PHOTOS), "--all", "--index", album / "ix"
        ).stdout
        ranks.append([Path(path).name for path in found.splitlines()].index(name) + 1)
    assert sum(rank == 1 for rank in ranks) >= 7, dict(zip(PHOTOS, ranks, strict=True))
    assert sum(rank <= 3 for rank in ranks) >= 10, dict(zip(PHOTOS, ranks, strict=True))


def test_a_photo_finds_itself_and_its_like(hashcli: Run, album: Path, tmp_path: Path) -> None:
    """A smaller, re-compressed copy comes back as the original, a few bits away."""
    with Image.open(album / "photos" / "chelsea.png") as photo:
        photo.convert("RGB").resize((300, 200)).save(tmp_path / "small.jpg", quality=80)
    itself = json_rows(
        hashcli("search", "--image", album / "photos" / "chelsea.png", "--json", "--index", album / "ix")
    )
    copy = json_rows(hashcli("search", "--image", tmp_path / "small.jpg", "--json", "--index", album / "ix"))
    assert itself[0]["path"] == copy[0]["path"] == str(album / "photos" / "chelsea.png")
    assert itself[0]["distance"] == 0
    assert itself[0]["similarity"] == 1
    assert copy[0]["distance"] < copy[1]["distance"] / 2


def test_json_lines(hashcli: Run, album: Path) -> None:
    rows = json_rows(hashcli("search", "a cat", "-k", "3", "--all", "--json", "--index", album / "ix"))
    assert [row["rank"] for row in rows] == [1, 2, 3]
    for row in rows:  # some have a date inside
        assert set(row) - {"taken", "modified"} == {"rank", "kind", "path", "distance", "similarity", "date_from"}
    assert rows[0]["kind"] == "image"
    assert Path(rows[0]["path"]).is_absolute()
    for row in rows:
        assert row["similarity"] == pytest.approx(1 - row["distance"] / 256, abs=1e-4)


def test_words_may_stand_bare_and_unquoted(hashcli: Run, album: Path) -> None:
    answers = {
        hashcli("search", *query, "--index", album / "ix").stdout
        for query in (("a cup of coffee",), ("a", "cup", "of", "coffee"), ("--text", "a cup of coffee"))
    }
    assert len(answers) == 1


def test_piped_rows_are_tab_separated_and_whole(hashcli: Run, album: Path) -> None:
    rows = [
        line.split("\t")
        for line in hashcli("search", "cat", "--all", "--index", album / "ix", COLUMNS="20").stdout.splitlines()
    ]
    assert [row[0] for row in rows] == [str(rank) for rank in range(1, 11)]
    assert all((album / "photos" / Path(row[2]).name).exists() for row in rows)


def test_paths_are_relative_to_where_one_stands(hashcli: Run, own_album: Path) -> None:
    line = hashcli("search", "a cat", "-k", "1", "--index", own_album / "ix").stdout
    assert line.endswith("\talbum/photos/chelsea.png\n")
    assert hashcli("search", "a cat", "-k", "1", "--paths", "--index", own_album / "ix").stdout == (
        f"{own_album}/photos/chelsea.png\n"
    )
    assert hashcli("search", "a cat", "-k", "2", "-0", "--index", own_album / "ix").stdout.count("\0") == 2


def test_a_terminal_gets_a_table_that_fits(album: Path, environment: dict[str, str]) -> None:
    shown = shown_in_terminal(("search", "a cat", "--index", "ix"), album, environment, columns=34)
    assert "rank" in shown
    assert "distance" in shown
    assert "photos/chelsea" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 34


@pytest.mark.parametrize("query", [(), ("--text", ""), ("--text", "   "), ("",), ("--image", "")])
def test_no_query_is_a_usage_error(hashcli: Run, album: Path, query: tuple[str, ...]) -> None:
    done = hashcli("search", *query, "--index", album / "ix", status=2)
    assert done.stdout == ""
    assert "This cannot be searched for" in done.stderr


def test_no_index_names_the_command_that_makes_one(hashcli: Run, tmp_path: Path) -> None:
    done = hashcli("search", "cat", status=1)
    assert "There is no index in" in done.stderr
    assert "hashcli index" in done.stderr
    assert not (tmp_path / "data" / "hashcli").exists()  # asking makes nothing


def test_an_empty_index_names_the_command_that_fills_it(hashcli: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    hashcli("index", "empty", "--index", "ix")
    done = hashcli("search", "cat", "--index", "ix")
    assert done.stdout == ""
    assert "holds no photos" in done.stderr
    assert "hashcli index" in done.stderr


@pytest.mark.parametrize("name", ["gone.jpg", "notes.jpg", "folder"])
def test_an_unreadable_query_photo_is_named(hashcli: Run, album: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.jpg").write_text("buy milk")
    (tmp_path / "folder").mkdir()
    done = hashcli("search", "--image", name, "--index", album / "ix", status=1)
    assert f"{name} cannot be read: " in done.stderr


def test_photos_that_are_gone(hashcli: Run, own_album: Path) -> None:
    (own_album / "photos" / "chelsea.png").unlink()
    arguments = ("search", "a cat", "-k", "2", "--index", own_album / "ix")
    rows = json_rows(done := hashcli(*arguments, "--json"))
    assert [row.get("missing") for row in rows] == [True, None]
    assert "no longer there" in done.stderr
    assert "hashcli index" in done.stderr
    assert "chelsea.png" not in hashcli(*arguments, "--paths").stdout
    hashcli("index", own_album / "photos", "--index", own_album / "ix")
    assert "chelsea.png" not in hashcli(*arguments).stdout


def test_more_answers_than_photos(hashcli: Run, album: Path) -> None:
    assert len(hashcli("search", "cat", "-k", "1000", "--all", "--index", album / "ix").stdout.splitlines()) == len(
        PHOTOS
    )
    assert hashcli("search", "cat", "-k", "0", "--index", album / "ix", status=2).stdout == ""


def test_the_index_may_be_named_by_the_environment(hashcli: Run, album: Path) -> None:
    assert hashcli("search", "cat", HASHCLI_INDEX=str(album / "ix")).stdout


def test_the_answer_does_not_need_the_derived_files(hashcli: Run, own_album: Path) -> None:
    answer = hashcli("search", "cat", "--index", own_album / "ix").stdout
    with sqlite3.connect(own_album / "ix" / "catalog.sqlite") as db:
        db.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")  # stale
    assert hashcli("search", "cat", "--index", own_album / "ix").stdout == answer
    (own_album / "ix" / "images.faiss").write_bytes(b"")
    assert hashcli("search", "cat", "--index", own_album / "ix").stdout == answer


def test_a_reader_that_leaves_early_is_no_error(album: Path, environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m hashcli search cat --index ix | true"
    done = subprocess.run(command, shell=True, cwd=album, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "hashcli:" not in done.stderr


def test_nothing_is_written_or_sent_by_the_libraries(hashcli: Run, album: Path, tmp_path: Path) -> None:
    """onnxruntime keeps an id and a database for its maker in the cache folder, unless that is switched off."""
    hashcli("search", "cat", "--index", album / "ix", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "home" / ".cache").exists()


def test_bytes_that_are_not_utf8_are_a_query_like_any_other(album: Path, environment: dict[str, str]) -> None:
    command = [sys.executable.encode(), b"-m", b"hashcli", b"search", b"a cat \xff", b"--index", b"ix"]
    done = subprocess.run(command, cwd=album, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout


def test_debug_shows_where_an_error_came_from(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "hashcli", "search", "cat", "--debug"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
