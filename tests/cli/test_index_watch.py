"""hashcli index --watch, through the command on real files. What counts as a change is tested in tests/index/files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread, Timer
from typing import Any

import pytest

from hashcli.cli import index as index_command
from hashcli.index.summary import UpdateOptions
from tests.conftest import PHOTOS, SKIMAGE, Run
from tests.index.indexing import IndexFolder

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
        """The counts that are not zero of the next update that is printed."""
        return {name: count for name, count in json.loads(self._lines.get(timeout=PATIENCE)).items() if count}

    def runs_until(self, goal: dict[str, int]) -> None:
        """Add up what updates did until it is the goal: one burst may be seen as several."""
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
    hashcli: Run, watching: Callable[..., Watcher], photos: Path, tiny_model: Path
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
    assert watcher.process.stderr
    said = watcher.process.stderr.read()
    assert "Watching for changes; press Ctrl-C to stop.\n" in said
    assert said.endswith("hashcli: Stopped watching. The next update takes up later changes.\n")
    assert IndexFolder(index, tiny_model).update() == {"unchanged": len(PHOTOS) + 1, "texts_unchanged": 1}


def test_everything_indexed_before_is_followed_and_a_folder_may_go_and_come_back(
    watching: Callable[..., Watcher], photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("image,text\nphotos/chelsea.png,a cat\n")
    IndexFolder(tmp_path / "ix", tiny_model).update(photos / "trip", captions)
    watcher = watching("--index", "ix")
    assert watcher.next_run() == {"unchanged": 2, "texts_unchanged": 1}
    (tmp_path / "new").write_text("image,text\nphotos/chelsea.png,a cat\nphotos/chelsea.png,a dog\n")
    (tmp_path / "new").replace(captions)  # as editors do
    watcher.runs_until({"texts_added": 1})
    (photos / "trip").rename(tmp_path / "unplugged")
    assert watcher.is_silent(2)
    shutil.copy(SKIMAGE / "chelsea.png", tmp_path / "unplugged")
    (tmp_path / "unplugged").rename(photos / "trip")
    watcher.runs_until({"added": 1})


def test_what_is_skipped_again_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    with index_command._UpdateProgress("Encoding", repeats=False) as progress:
        for path in ("a.png", "a.png", "b.png"):
            progress.skipped(path, "damaged")
    assert capsys.readouterr().err == "skipped a.png: damaged\nskipped b.png: damaged\n"


def test_an_update_waits_for_another_writer(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    index = IndexFolder(tmp_path / "ix", tiny_model)
    index.update(photos)
    lock = FileLock(tmp_path / "ix" / "lock", thread_local=False)
    lock.acquire()
    Timer(0.2, lock.release).start()
    progress = index_command._UpdateProgress("Encoding")
    summary = index_command._update_when_free(index.folder, [str(photos)], UpdateOptions(), progress)
    assert summary.unchanged == len(PHOTOS)
    assert not lock.is_locked


def test_wrong_usage(hashcli: Run, photos: Path) -> None:
    assert "cannot be combined" in hashcli("index", photos, "--watch", "--dry-run", status=2).stderr
    assert "no such file or folder" in hashcli("index", "nowhere", "--watch", status=1).stderr


def test_without_its_extra_watching_names_it(
    hashcli_process: Run, environment: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "watchfiles.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path / "without"), environment.get("PYTHONPATH", "")])
    done = hashcli_process("index", photos, "--watch", "--index", "ix", PYTHONPATH=path, status=1)
    assert "pip install '.[watch]'" in done.stderr
    assert not (tmp_path / "ix").exists()
