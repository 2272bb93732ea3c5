"""hashcli index --watch, through the command on real files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows

pytest.importorskip("watchfiles")

PATIENCE = 60  # seconds until a change must have been seen, on a busy machine


class Watcher:
    """A running `hashcli index --watch --json` and what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def next_run(self) -> dict[str, Any]:
        """The counts that are not zero of the next run that is told."""
        return {name: count for name, count in json.loads(self._lines.get(timeout=PATIENCE)).items() if count}

    def runs_until(self, goal: dict[str, int]) -> None:
        """Add up what runs did until it is the goal: a burst may be seen as several."""
        done = dict.fromkeys(goal, 0)
        while done != goal:
            run = self.next_run()
            done = {name: done[name] + run.get(name, 0) for name in goal}

    def is_silent(self, seconds: float) -> bool:
        try:
            self._lines.get(timeout=seconds)
        except Empty:
            return True
        return False


@pytest.fixture
def watching(tmp_path: Path, environment: dict[str, str], tiny_model: Path) -> Iterator[Callable[..., Watcher]]:
    processes = []

    def start(*arguments: object) -> Watcher:
        command = [sys.executable, "-m", "hashcli", "index", "--watch", "--json", "--model", tiny_model, *arguments]
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return Watcher(process)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_an_index_follows_the_disk_until_ctrl_c(
    hashcli: Run, watching: Callable[..., Watcher], photos: Path, tmp_path: Path
) -> None:
    index = photos / ".hashcli"
    watcher = watching(photos, "--index", index)
    assert watcher.next_run() == {"added": len(PHOTOS)}
    for name in ("eagle.png", "cat.png"):
        shutil.copy(SKIMAGE / "chelsea.png", photos / "trip" / name)
    watcher.runs_until({"added": 2})
    (photos / "chelsea.txt").write_text("a cat")
    watcher.runs_until({"texts_added": 1})
    (photos / "trip").rename(photos / "voyage")
    watcher.runs_until({"moved": 4})
    (photos / "coffee.png").unlink()
    watcher.runs_until({"removed": 1})
    (photos / ".hidden").mkdir()
    shutil.copy(SKIMAGE / "coffee.png", photos / ".hidden")
    (photos / "notes.doc").write_text("no photo")
    hashcli("search", "cat", "--index", index)
    assert watcher.is_silent(3)
    watcher.process.send_signal(signal.SIGINT)
    assert watcher.process.wait(PATIENCE) == 130
    (row,) = json_rows(hashcli("index", "--index", index, "--json"))
    assert (row["unchanged"], row["added"], row["removed"]) == (len(PHOTOS) + 1, 0, 0)


def test_files_given_by_name_and_a_folder_that_goes_and_comes_back(
    watching: Callable[..., Watcher], hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("image,text\nphotos/chelsea.png,a cat\n")
    hashcli("index", photos / "trip", captions, "--index", "ix", "--model", tiny_model)
    watcher = watching("--index", "ix")  # everything indexed before
    assert watcher.next_run() == {"unchanged": 2, "texts_unchanged": 1}
    (tmp_path / "new").write_text("image,text\nphotos/chelsea.png,a cat\nphotos/chelsea.png,a dog\n")
    (tmp_path / "new").replace(captions)  # as editors do
    watcher.runs_until({"texts_added": 1})
    (photos / "trip").rename(tmp_path / "unplugged")
    assert watcher.is_silent(2)
    shutil.copy(SKIMAGE / "chelsea.png", tmp_path / "unplugged")
    (tmp_path / "unplugged").rename(photos / "trip")
    watcher.runs_until({"added": 1})


def test_a_name_that_is_not_utf8_does_not_end_it(watching: Callable[..., Watcher], photos: Path) -> None:
    watcher = watching(photos, "--index", "ix")
    assert watcher.next_run() == {"added": len(PHOTOS)}
    shutil.copy(SKIMAGE / "chelsea.png", photos / os.fsdecode(b"caf\xe9.png"))
    watcher.runs_until({"added": 1})
    shutil.copy(SKIMAGE / "chelsea.png", photos / "new.png")
    watcher.runs_until({"added": 1})


def test_what_is_skipped_is_named_once(watching: Callable[..., Watcher], photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_text("no photo")
    watcher = watching(photos, "--index", "ix")
    assert watcher.next_run() == {"added": len(PHOTOS), "skipped": 1}
    shutil.copy(SKIMAGE / "chelsea.png", photos / "new.png")
    watcher.runs_until({"added": 1})
    watcher.process.send_signal(signal.SIGINT)
    watcher.process.wait(PATIENCE)
    assert watcher.process.stderr
    said = watcher.process.stderr.read()
    assert said.count("broken.png") == 1
    assert "Watching for changes; Ctrl-C ends it.\n" in said


def test_watching_waits_for_another_writer(
    watching: Callable[..., Watcher], hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    from filelock import FileLock

    hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    with FileLock(tmp_path / "ix" / "lock"):
        watcher = watching(photos, "--index", "ix")
        assert watcher.is_silent(3)
    assert watcher.next_run() == {"unchanged": len(PHOTOS)}


def test_wrong_usage(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    assert "cannot be combined" in hashcli("index", photos, "--watch", "--dry-run", status=2).stderr
    assert "--forget stands alone" in hashcli("index", photos, "--watch", "--forget", status=2).stderr
    assert "no such file or folder" in hashcli("index", "nowhere", "--watch", status=1).stderr


def test_without_its_extra_watching_names_it(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "watchfiles.py").write_text("raise ImportError")
    done = hashcli("index", photos, "--watch", "--index", "ix", PYTHONPATH=str(tmp_path / "without"), status=1)
    assert "pip install 'hashcli[watch]'" in done.stderr
    assert not (tmp_path / "ix").exists()
