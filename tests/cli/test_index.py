"""hashcli index, through the command on real files. The rules of an update are tested in tests/index."""

import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.cli import index as index_command
from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows, make_tiny_model
from tests.index.indexing import IndexFolder, to_version

not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def index(photos: Path, tiny_model: Path, tmp_path: Path) -> Path:
    """An index of the photos, made with the tiny model."""
    IndexFolder(tmp_path / "ix", tiny_model).update(photos)
    return tmp_path / "ix"


def counts(hashcli: Run, *arguments: object, status: int = 0) -> dict[str, int]:
    """Run `hashcli index --json`; returns the counts that are not zero."""
    (row,) = json_rows(hashcli("index", *arguments, "--json", status=status))
    return {name: count for name, count in row.items() if count}


def rows(index: Path) -> list[tuple[object, ...]]:
    """Everything in the catalog that does not depend on when it was written."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        return db.execute("SELECT kind, path, size, mtime_ns, hash, code FROM items ORDER BY path").fetchall()


def count_rows(index: Path) -> int:
    """How many photos are in a catalog that may not be there yet."""
    try:
        return len(rows(index))
    except sqlite3.OperationalError:
        return 0


def test_first_run_then_only_what_is_new_changed_moved_or_gone(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    assert done.stdout == ""
    assert done.stderr == f"{len(PHOTOS)} added, 0 skipped\n"
    shutil.copy(photos / "coffee.png", photos / "new.png")
    Image.open(photos / "chelsea.png").rotate(180).save(photos / "chelsea.png")
    (photos / "trip").rename(photos / "voyage")
    (photos / "coins.png").unlink()
    changes = {"added": 1, "updated": 1, "moved": 2, "removed": 1, "unchanged": len(PHOTOS) - 4}
    assert counts(hashcli, "--index", "ix") == changes  # without paths: everything indexed before


def test_dry_run_prints_the_changes_and_makes_none(hashcli: Run, photos: Path, index: Path) -> None:
    before = rows(index)
    shutil.copy(photos / "coffee.png", photos / "new.png")
    (photos / "brick.png").rename(photos / "wall.png")
    (photos / "coins.png").unlink()
    done = hashcli("index", photos, "--index", index, "--dry-run")
    assert sorted(done.stdout.splitlines()) == [
        f"add\t{photos / 'new.png'}",
        f"move\t{photos / 'brick.png'} -> {photos / 'wall.png'}",
        f"remove\t{photos / 'coins.png'}",
    ]
    assert done.stderr == "3 changes; nothing was done.\n"
    changes = json_rows(hashcli("index", photos, "nowhere", "--index", index, "--dry-run", "--json", status=3))
    assert {"action": "add", "path": str(photos / "new.png")} in changes
    moved_from = str(photos / "brick.png")
    assert {"action": "move", "path": str(photos / "wall.png"), "moved_from": moved_from} in changes
    assert rows(index) == before


def test_a_broken_photo_is_named_and_the_rest_is_indexed(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (photos / "cut.jpg").write_bytes((photos / "trip" / "rocket.jpg").read_bytes()[:20_000])
    (photos / "notes.png").write_text("buy milk")
    whole = (photos / "trip" / "rocket.jpg").read_bytes()
    (photos / "short.jpg").write_bytes(whole[: len(whole) * 98 // 100])
    done = hashcli("index", photos, "--index", tmp_path / "ix", "--model", tiny_model, status=3)
    assert f"damaged {photos / 'short.jpg'}: " in done.stderr
    assert f"skipped {photos / 'cut.jpg'}: " in done.stderr
    assert f"skipped {photos / 'notes.png'}: not an image that can be read\n" in done.stderr
    assert done.stderr.endswith(f"{len(PHOTOS) + 1} added, 1 damaged, 2 skipped\n")
    (photos / "cut.jpg").unlink()
    (photos / "notes.png").unlink()
    hashcli("index", photos, "--index", tmp_path / "ix", "--rehash", status=3)


def test_a_list_on_stdin(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    arguments = ("index", "-", "--index", tmp_path / "ix", "--model", tiny_model, "--json")
    listed = [photos / "coffee.png", photos / "chelsea.png"]
    (row,) = json_rows(hashcli(*arguments, stdin="".join(f"{path}\n" for path in listed)))
    assert row["added"] == 2
    (row,) = json_rows(hashcli(*arguments, stdin="".join(f"{path}\0" for path in [*listed, photos / "trip"])))
    assert (row["added"], row["unchanged"]) == (2, 2)


def test_an_empty_list_on_stdin_is_done(hashcli: Run, photos: Path, index: Path) -> None:
    for more in (("--index", index, "--forget"), ("--index", index.with_name("none"))):
        assert hashcli("index", "-", *more, stdin="").stderr == "The list of paths on stdin is empty.\n"
    (row,) = json_rows(hashcli("index", "-", "--index", index, "--json", stdin="\n"))
    assert set(row.values()) == {0}
    assert len(rows(index)) == len(PHOTOS)
    assert not index.with_name("none").exists()


def test_names_of_any_bytes_come_out_as_they_are(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"a b.png", b"two\nlines.png", b"red\x1b[31m.png", "höhe 日本.png".encode(), b"latin-\xe9.png"]
    for shade, name in enumerate(names):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            Image.new("RGB", (9, 9), (50 * shade,) * 3).save(file, "PNG")
    assert counts(hashcli, folder, "--index", "ix", "--model", tiny_model) == {"added": 5}
    assert len(hashcli("search", "cat", "--index", "ix").stdout.splitlines()) == 5
    found = json_rows(hashcli("search", "cat", "--json", "--index", "ix"))
    assert sorted(os.path.basename(os.fsencode(row["path"])) for row in found) == sorted(names)
    program = [sys.executable, "-m", "hashcli", "search", "cat", "-0", "--index", "ix"]
    printed = subprocess.run(program, capture_output=True, check=True, cwd=tmp_path, env=environment).stdout
    assert sorted(printed.split(b"\0")[:-1]) == sorted(os.path.join(os.fsencode(folder), name) for name in names)


def test_hidden_files_on_request(hashcli: Run, photos: Path, index: Path) -> None:
    shutil.copy(photos / "coffee.png", photos / "._coffee.png")
    assert counts(hashcli, photos, "--index", index, "--hidden") == {"added": 1, "unchanged": len(PHOTOS)}


def test_a_folder_that_cannot_be_reached_keeps_its_photos(
    hashcli: Run, photos: Path, index: Path, tmp_path: Path
) -> None:
    photos.rename(tmp_path / "unplugged")
    done = hashcli("index", "--index", index, status=3)
    reason = f"not reachable; its {len(PHOTOS)} photos are kept (--forget drops them)"
    assert f"skipped {photos}: {reason}\n" in done.stderr
    assert len(rows(index)) == len(PHOTOS)


def test_forget_drops_a_folder_and_keeps_the_files(hashcli: Run, photos: Path, index: Path) -> None:
    (row,) = json_rows(hashcli("index", "--forget", photos / "trip", "--index", index, "--json"))
    assert row == {"removed": 2, "texts_removed": 0}
    again = hashcli("index", "--forget", photos / "trip", "--index", index, status=1)
    assert "holds no photos or texts at or below that path" in again.stderr
    done = hashcli("index", "--forget", photos, "--index", index)
    assert f"{len(PHOTOS) - 2} photos dropped from the index" in done.stderr
    assert rows(index) == []
    assert "Nothing is indexed" in hashcli("index", "--index", index).stderr
    assert (photos / "coffee.png").exists()


def test_forget_drops_a_linked_folder_by_its_link(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    (photos / "trip").rename(tmp_path / "elsewhere")
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    IndexFolder(tmp_path / "ix", tiny_model).update(photos)
    (row,) = json_rows(hashcli("index", "--forget", "photos/link", "--index", "ix", "--json"))
    assert row == {"removed": 2, "texts_removed": 0}
    assert len(rows(tmp_path / "ix")) == len(PHOTOS) - 2


def test_paths_that_are_not_there_or_hold_no_photos(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = hashcli("index", "nowhere", "--index", "ix", "--model", tiny_model, status=1)
    assert "no such file or folder" in done.stderr
    assert not (tmp_path / "ix").exists()
    (tmp_path / "empty").mkdir()
    done = hashcli("index", "empty", "photo", "--index", "ix", "--model", tiny_model, status=3)
    assert f"skipped {tmp_path / 'photo'}: no such file or folder; did you mean photos?" in done.stderr
    assert "No photos were found there." in hashcli("index", "empty", "--index", "ix").stderr


def test_no_path_and_no_index_is_a_usage_error(hashcli: Run, tmp_path: Path) -> None:
    done = hashcli("index", "--index", tmp_path / "ix", status=2)
    assert f"hashcli index --index {tmp_path / 'ix'} ~/Pictures" in done.stderr
    assert not (tmp_path / "ix").exists()


def test_options_that_exclude_each_other(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, problem in (
        ({"watch": True, "dry_run": True}, "cannot be combined"),
        ({"watch": True, "forget": True}, "--forget cannot be combined"),
        ({"dry_run": True, "forget": True}, "--forget cannot be combined"),
        ({"rehash": True, "forget": True}, "--forget cannot be combined"),
    ):
        with pytest.raises(SystemExit) as stopped:
            index_command.run([str(photos)], index=tmp_path / "ix", **options)  # type: ignore[arg-type]
        assert stopped.value.code == 2
        assert problem in capsys.readouterr().err


def test_a_model_that_was_changed_in_place_or_is_gone(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "own", seed=1)
    IndexFolder(tmp_path / "ix", model).update(photos)
    shutil.rmtree(model)
    make_tiny_model(model, seed=2)
    for command in (("index", photos), ("search", "cat")):
        done = hashcli(*command, "--index", "ix", status=1)
        assert "cannot be compared" in done.stderr
        assert "--rehash" in done.stderr
    assert counts(hashcli, "--index", "ix", "--rehash") == {"updated": len(PHOTOS)}
    shutil.rmtree(model)
    done = hashcli("search", "cat", "--index", "ix", status=1)
    assert f"made with the hash model {model}, which is not there" in done.stderr
    assert "If it was moved: hashcli index --index" in done.stderr


def test_a_second_writer_stops_and_readers_go_on(hashcli: Run, photos: Path, index: Path) -> None:
    from filelock import FileLock

    with FileLock(index / "lock"):
        done = hashcli("index", photos, "--index", index, status=1)
        assert "Another hashcli is writing the index" in done.stderr
        assert hashcli("search", "cat", "--index", index).stdout


def test_the_index_moves_with_the_photos(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    IndexFolder(photos / ".hashcli", tiny_model).update(photos)
    moved = tmp_path / "elsewhere" / "pictures"
    moved.parent.mkdir()
    photos.rename(moved)
    found = hashcli("search", "cat", "--paths", "-k", "100", "--index", moved / ".hashcli").stdout.splitlines()
    assert sorted(found) == sorted(str(path) for path in moved.rglob("*.*g") if path.is_file())


def test_a_damaged_catalog_says_so(hashcli: Run, index: Path) -> None:
    (index / "catalog.sqlite").write_bytes(b"not a database, just words" * 100)
    done = hashcli("search", "cat", "--index", index, status=1)
    assert "is damaged" in done.stderr
    assert "Delete the index folder and run hashcli index --index" in done.stderr


def test_a_search_does_not_use_damaged_search_files(hashcli: Run, index: Path) -> None:
    answer = hashcli("search", "cat", "--index", index).stdout
    (index / "images.ids.npy").unlink()
    assert hashcli("search", "cat", "--index", index).stdout == answer
    (index / "images.faiss").write_bytes((index / "images.faiss").read_bytes()[:100])
    assert hashcli("search", "cat", "--index", index).stdout == answer


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk")
def test_a_full_disk_says_so(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    done = hashcli("index", photos, "--index", "/dev/full/ix", "--model", tiny_model, status=1)
    assert "/dev/full/ix cannot be written" in done.stderr
    assert "--index" in done.stderr


@not_as_root
def test_a_read_only_index_can_be_searched_but_not_written(hashcli: Run, photos: Path, index: Path) -> None:
    index.chmod(0o555)
    try:
        assert hashcli("search", "cat", "--index", index).stdout
        done = hashcli("index", photos, "--index", index, status=1)
    finally:
        index.chmod(0o755)
    assert "cannot be used" in done.stderr
    assert "permissions" in done.stderr


@pytest.mark.parametrize("version", [1, 2])
def test_an_index_of_an_older_hashcli_answers_and_is_migrated(hashcli: Run, index: Path, version: int) -> None:
    answer = hashcli("search", "cat", "--index", index).stdout
    to_version(version, index)
    assert hashcli("search", "cat", "--index", index).stdout == answer
    assert (
        "made by an earlier hashcli. It is migrated: photos are read once more"
        in hashcli("index", "--index", index).stderr
    )
    assert "migrated" not in hashcli("index", "--index", index).stderr
    assert hashcli("search", "cat", "--index", index).stdout == answer


def many_photos(folder: Path, count: int) -> Path:
    """Small JPEGs, each a different piece of a real photo."""
    folder.mkdir()
    astronaut = Image.open(SKIMAGE / "astronaut.png").convert("RGB")
    rng = np.random.default_rng(0)
    for number in range(count):
        left, top = (int(value) for value in rng.integers(0, 512 - 200, 2))
        astronaut.crop((left, top, left + 200, top + 150)).save(folder / f"piece{number:04}.jpg")
    return folder


# Sends itself a signal, some seconds after so many commits: a test that watched it could be too late on a busy machine.
_STOPPING = """
import itertools, os, sys, threading
from hashcli.__main__ import main
from hashcli.index.catalog import Catalog

number, commits, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
left = itertools.count(commits, -1)

def stop():
    if seconds:
        timer = threading.Timer(seconds, os.kill, [os.getpid(), number])
        timer.daemon = True
        timer.start()
    else:
        os.kill(os.getpid(), number)

def check_is_there(self, real=Catalog.check_is_there):
    real(self)
    if next(left) == 1:
        stop()

Catalog.check_is_there = check_is_there  # called after each commit of items
if not commits:
    stop()
sys.argv[1:] = sys.argv[4:]
main()
"""


def index_stopping(number: int, commits: int, seconds: float, *arguments: object) -> list[str]:
    """The command `hashcli index` that sends itself a signal of a number."""
    return [sys.executable, "-c", _STOPPING, *map(str, (number, commits, seconds, "index", *arguments))]


def test_ctrl_c_keeps_what_is_encoded_and_says_how_to_go_on(
    tiny_model: Path, environment: dict[str, str], hashcli: Run, tmp_path: Path
) -> None:
    folder = many_photos(tmp_path / "many", 800)
    command = index_stopping(signal.SIGINT, 4, 0.005, folder, "--index", "ix", "--model", tiny_model)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    kept = len(rows(tmp_path / "ix"))
    assert 16 <= kept < 800
    assert len(hashcli("search", "cat", "-k", "800", "--paths", "--index", "ix").stdout.splitlines()) == kept
    assert IndexFolder(tmp_path / "ix", tiny_model).update(folder) == {"added": 800 - kept, "unchanged": kept}


def test_kill_9_at_any_moment_loses_nothing(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Kill a real process again and again, with files coming, going and moving in between; then compare with an
    index made undisturbed."""
    folder = many_photos(tmp_path / "many", 400)
    rng = np.random.default_rng(1)
    kills, grown = 0, set()
    for round_ in range(8):
        moment = int(rng.integers(0, 6)), float(rng.uniform(0, 0.1))
        command = index_stopping(signal.SIGKILL, *moment, folder, "--model", tiny_model, "--index", "killed")
        process = subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, check=False)
        kills += process.returncode == -9
        if (tmp_path / "killed" / "catalog.sqlite").exists():
            if round_ % 2:
                searched = hashcli("search", "cat", "--index", "killed", status=None)
                assert searched.returncode == 0 or "There is no index" in searched.stderr
            with sqlite3.connect(tmp_path / "killed" / "catalog.sqlite") as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            grown.add(count_rows(tmp_path / "killed"))
        chosen = [sorted(folder.iterdir())[int(i)] for i in rng.choice(400, 80, replace=False)]
        chosen[0].rename(folder / f"moved{round_}.jpg")
        shutil.copy(chosen[1], folder / f"copy{round_}.jpg")
        chosen[2].unlink()
        for changed in chosen[3:]:
            with Image.open(changed) as photo:
                photo.rotate(180).save(changed)
    assert kills >= 4
    assert len(grown - {0, 400}) >= 2  # batches were kept as they came, not all at the end
    for name in ("killed", "undisturbed"):
        IndexFolder(tmp_path / name, tiny_model).update(folder)
    assert rows(tmp_path / "killed") == rows(tmp_path / "undisturbed")
    assert len(rows(tmp_path / "killed")) == 400
    distances = [
        [row["distance"] for row in json_rows(hashcli("search", "cat", "--json", "--index", index))]
        for index in ("killed", "undisturbed")
    ]
    assert distances[0] == distances[1]


def test_a_search_while_indexing_answers(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Also while it is stopped in the middle."""
    folder = many_photos(tmp_path / "many", 400)
    command = index_stopping(signal.SIGSTOP, 5, 0, folder, "--index", "ix", "--model", tiny_model)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    assert 0 < count_rows(tmp_path / "ix") < 400
    assert hashcli("search", "cat", "--index", "ix").stdout
    process.send_signal(signal.SIGCONT)
    while process.poll() is None:
        assert hashcli("search", "cat", "--index", "ix").stdout
    assert process.returncode == 0


# --- lists and names ---


def test_a_list_of_files_from_windows(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    (photos / "odd\r").mkdir()
    shutil.copy(photos / "coffee.png", photos / "odd\r" / "cup.png")
    listed = f"\ufeff{photos / 'coffee.png'}\r\n{photos / 'trip'}\r\n{photos}/odd\r\n"
    done = hashcli("index", "-", "--model", tiny_model, "--index", "ix", "--json", stdin=listed)
    assert json_rows(done)[0]["added"] == 4


def test_json_leads_back_to_a_name_that_is_not_utf_8(hashcli: Run, index: Path, photos: Path) -> None:
    name = os.path.join(os.fsencode(photos), b"caf\xe9.png")
    os.rename(photos / "coffee.png", name)
    (planned,) = json_rows(hashcli("index", "--index", index, "--dry-run", "--json"))
    hashcli("index", "--index", index)
    (found,) = json_rows(hashcli("search", "--index", index, "--image", os.fsdecode(name), "-k", 1, "--json"))
    for row in (planned, found):
        assert base64.b64decode(row["path_bytes"]) == name
    others = json_rows(hashcli("search", "--index", index, "--image", photos / "coins.png", "-k", 1, "--json"))
    assert "path_bytes" not in others[0]


# --- what is left out ---


def test_what_is_left_out_is_remembered_and_listed(hashcli: Run, index: Path, photos: Path) -> None:
    done = hashcli("index", "--index", index, "--exclude", "*.jpg", "--exclude", "#recycle")
    assert "files are left out from now on" in done.stderr
    facts = json_rows(hashcli("info", "--index", index, "--json"))[0]
    assert facts["excludes"] == ["*.jpg", "\\#recycle"]
    assert facts["photos"] == sum(not name.endswith(".jpg") for name in PHOTOS)
    done = hashcli("index", "--index", index, photos / "trip" / "rocket.jpg", status=3)
    assert "left out by the pattern *.jpg (--include '*.jpg' takes it)" in done.stderr
    assert "*.jpg" in hashcli("info", "--index", index).stdout
    hashcli("index", "--index", index, "--include", "*.jpg")
    assert json_rows(hashcli("info", "--index", index, "--json"))[0]["photos"] == len(PHOTOS)
    assert "'!' is not a pattern" in hashcli("index", "--index", index, "--exclude", "!", status=1).stderr


def test_what_was_forgotten_is_listed(hashcli: Run, index: Path, photos: Path) -> None:
    done = hashcli("index", "--index", index, "--forget", photos / "trip")
    assert "They stay out until they, or their folder, are named" in done.stderr
    assert counts(hashcli, "--index", index) == {"unchanged": len(PHOTOS) - 2}
    assert json_rows(hashcli("info", "--index", index, "--json"))[0]["forgotten"] == [str(photos / "trip")]
    assert counts(hashcli, "--index", index, photos / "trip") == {"added": 2}


def test_names_in_a_locale_without_utf_8(hashcli: Run, hashcli_process: Run, photos: Path, tiny_model: Path) -> None:
    """Python decodes file names otherwise there: what is stored leads to the same files all the same."""
    shutil.move(photos / "coffee.png", photos / "Café 😀.png")
    hashcli("index", "--index", "ix", "--model", tiny_model, photos)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = hashcli_process("index", "--index", "ix", photos, **ascii_only)
    assert "12 unchanged" in done.stderr
    search = ("search", "--image", photos / "chelsea.png", "--all", "-k", 12, "--index", "ix")
    done = hashcli_process(*search, "--html", "page.html", **ascii_only)
    assert "no longer there" not in done.stderr
    assert "not shown" not in done.stderr


def test_a_path_that_is_not_there_is_a_failure_if_it_is_all_there_was(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    done = hashcli("index", "phtos", "nowhere", "--index", "ix", status=1)
    assert f"skipped {tmp_path / 'phtos'}: no such file or folder; did you mean photos?" in done.stderr
    assert done.stderr.endswith("hashcli: Nothing was indexed: no path that was given is there.\n")
    hashcli("index", photos, "nowhere", "--index", "ix", status=3)
    (photos / "coins.png").unlink()
    hashcli("index", photos / "coins.png", "--index", "ix")  # it was there before


def test_folders_within_an_indexed_folder_are_not_listed(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    hashcli("index", photos / "trip", "--index", "ix", "--model", tiny_model)
    hashcli("index", photos, "--index", "ix")
    (facts,) = json_rows(hashcli("info", "--index", "ix", "--json"))
    assert (facts["roots"], facts["photos"]) == ([str(photos)], len(PHOTOS))
    (counts,) = json_rows(hashcli("index", "--index", "ix", "--json"))
    assert counts["unchanged"] == len(PHOTOS)
