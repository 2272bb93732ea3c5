"""hashcli index and texts, through the command on real files. The rules of an update are tested in tests/index."""

import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import numpy as np

from tests.cli.test_index import index_stopping
from tests.conftest import PHOTOS, Run, json_rows
from tests.index.indexing import IndexFolder, described, to_version

# The tiny model knows these words; all others are the same to it.
CAT, DOG, ROCKET = "a cat", "a dog", "a rocket"


def texts(index: Path) -> list[str]:
    """Every text that can be found."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        return [text for (text,) in db.execute("SELECT text FROM items WHERE kind = 1 AND code IS NOT NULL")]


def test_texts_of_every_source_are_indexed_found_and_counted(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Sidecars, descriptions in photos, captions files and lines."""
    (photos / "chelsea.txt").write_text(f"{CAT}\n\nasleep\n")
    described(photos / "a.jpg", description=DOG, comment=b"ASCII\0\0\0SONY DSC")
    (tmp_path / "captions.csv").write_text(f"image,text\nphotos/trip/rocket.jpg,{ROCKET}\n")
    (tmp_path / "lines.txt").write_text("first\nsecond\n")
    done = hashcli("index", photos, "captions.csv", "lines.txt", "--index", "ix", "--model", tiny_model)
    counts, hint = done.stderr.splitlines()
    assert counts == f"{len(PHOTOS) + 1} added, 0 skipped; texts: 6 added, 1 left out"
    assert "left out; --verbose and the log name them" in hint
    (facts,) = json_rows(hashcli("info", "--json", "--index", "ix"))
    assert (facts["photos"], facts["texts"], facts["waiting"]) == (len(PHOTOS) + 1, 6, 0)
    assert facts["texts_left_out"] == 1
    assert "1 left out" in hashcli("info", "--index", "ix").stdout
    assert facts["texts_from"] == {"captions files": 1, "photos": 1, "sidecars": 2, "text files": 2}
    best = [
        json_rows(hashcli("search", query, "--for", "texts", "--json", "--index", "ix"))[0] for query in (ROCKET, DOG)
    ]
    assert [(row["text"], row["distance"]) for row in best] == [(ROCKET, 0), (DOG, 0)]
    assert [(row["path"], row["photo"], row.get("line")) for row in best] == [
        (str(tmp_path / "captions.csv"), str(photos / "trip" / "rocket.jpg"), 2),
        (str(photos / "a.jpg"), str(photos / "a.jpg"), None),
    ]
    (photos / "chelsea.txt").write_text(f"{CAT}\n{DOG}\n")
    done = hashcli("index", "--index", "ix")
    unchanged = f"0 added, {len(PHOTOS) + 1} unchanged, 0 skipped"
    assert done.stderr == f"{unchanged}; texts: 1 added, 1 removed, 5 unchanged\n"


def test_photos_only(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    done = hashcli("index", photos, "--no-texts", "--index", "ix", "--model", tiny_model)
    assert done.stderr == f"{len(PHOTOS)} added, 0 skipped\n"


def test_an_invalid_captions_file_is_named(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text('{"image": "a.jpg", "text": "x"}\n{"image": ')
    done = hashcli("index", "captions.jsonl", "--index", "ix", "--model", tiny_model, status=3)
    assert f"skipped {tmp_path / 'captions.jsonl'}: line 2: not JSON" in done.stderr


def test_forget_drops_texts(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    (photos / "trip" / "rocket.txt").write_text(f"{ROCKET}\n{CAT}")
    (tmp_path / "lines.txt").write_text(DOG)
    IndexFolder(tmp_path / "ix", tiny_model).update(photos, tmp_path / "lines.txt")
    (row,) = json_rows(hashcli("index", "--forget", photos / "trip", "--index", "ix", "--json"))
    assert row == {"removed": 2, "texts_removed": 2}
    done = hashcli("index", "--forget", "lines.txt", "--index", "ix")
    assert "0 photos and 1 texts dropped" in done.stderr
    assert texts(tmp_path / "ix") == []


def test_dates_of_texts_are_those_of_their_photos(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    described(photos / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    (photos / "a.txt").write_text(DOG)
    (photos / "coffee.txt").write_text("a cup")
    os.utime(photos / "coffee.png", (1.6e9, 1.6e9))  # September 2020
    (photos / "lines.txt").write_text(ROCKET)
    IndexFolder(tmp_path / "ix", tiny_model).update(photos, photos / "lines.txt")

    def found(*limits: str) -> list[str]:
        arguments = ("search", CAT, "--for", "texts", "--json", "--index", "ix")
        return sorted(row["text"] for row in json_rows(hashcli(*arguments, *limits, status=None)))

    assert found("--after", "2021", "--before", "2022") == [CAT, DOG]
    assert found("--before", "2021") == ["a cup"]
    assert found("--after", "2022") == [ROCKET]  # of now


def test_without_dates_a_date_filter_finds_nothing(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """In an index of an older hashcli, whose photos could not be read since."""
    index = IndexFolder(tmp_path / "ix", tiny_model)
    index.update(photos)
    to_version(1, index.folder)
    photos.rename(photos.with_name("away"))
    index.update()
    assert hashcli("search", CAT, "--before", "2100", "--index", "ix").stdout == ""
    assert hashcli("search", CAT, "--index", "ix").stdout


def test_kill_9_loses_no_text(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    """Kill a real process again and again, with texts coming, going and moving in between; then compare with an index
    made undisturbed."""
    rng = np.random.default_rng(2)
    vocabulary = ["cat", "dog", "rocket", "a", "fish"]

    def sentences(count: int) -> str:
        return "".join(" ".join(rng.choice(vocabulary, 40)) + f" {rng.integers(10**9)}\n" for _ in range(count))

    lists = [tmp_path / f"list{number}.txt" for number in range(3)]
    for path in lists:
        path.write_text(sentences(1500))
    grown = set()
    for round_ in range(6):
        moment = int(rng.integers(1, 40)), float(rng.uniform(0, 0.02))
        command = index_stopping(signal.SIGKILL, *moment, photos, *lists, "--model", tiny_model, "--index", "killed")
        subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, check=False)
        if round_ % 2:
            searched = hashcli("search", CAT, "--for", "texts", "--index", "killed", status=None)
            assert searched.returncode == 0 or "There is no index" in searched.stderr or "empty" in searched.stderr
        grown.add(len(texts(tmp_path / "killed")))
        lists[round_ % 3].write_text(sentences(1500) + lists[(round_ + 1) % 3].read_text()[:100_000])
        for number, photo in enumerate(sorted(photos.glob("*.png"))[:4]):
            photo.with_suffix(".txt").write_text(sentences(number))
    assert len(grown - {0}) >= 2  # batches were kept as they came
    killed, undisturbed = (IndexFolder(tmp_path / name, tiny_model) for name in ("killed", "undisturbed"))
    for index in (killed, undisturbed):
        index.update(photos, *lists)
    assert killed.rows() == undisturbed.rows()
    assert killed.sql("SELECT count(*) FROM items WHERE code IS NULL") == [(0,)]
    assert (tmp_path / "killed" / "texts.faiss").exists()


def test_a_text_search_while_texts_are_indexed_answers(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Also while that is stopped in the middle."""
    (tmp_path / "lines.txt").write_text("".join(f"a cat and {number}\n" for number in range(10_000)))
    command = index_stopping(signal.SIGSTOP, 8, 0, "lines.txt", "--index", "ix", "--model", tiny_model)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    assert 0 < len(texts(tmp_path / "ix")) < 10_000
    assert hashcli("search", CAT, "--for", "texts", "--index", "ix").stdout
    process.send_signal(signal.SIGCONT)
    while process.poll() is None:
        assert hashcli("search", CAT, "--for", "texts", "--index", "ix").stdout
    assert process.returncode == 0
