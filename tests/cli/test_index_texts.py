"""hashcli index and texts: sidecars, captions files, lines of text and descriptions in photos, on real files."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_index import kill_after_commits, to_version_1
from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows, make_tiny_model

# tiny_model's words are told apart, all others are one and the same to it.
CAT, DOG, ROCKET = "a cat", "a dog", "a rocket"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "ix"


@pytest.fixture
def update(hashcli: Run, tiny_model: Path, index: Path) -> Any:
    """Run `hashcli index --json`; returns the counts of texts that are not zero, and of what was skipped."""

    def run(*arguments: object, status: int = 0) -> dict[str, int]:
        model = () if index.exists() else ("--model", tiny_model)
        (row,) = json_rows(hashcli("index", *arguments, "--index", index, *model, "--json", status=status))
        return {name: count for name, count in row.items() if count and (name == "skipped" or "texts" in name)}

    return run


def texts(index: Path) -> list[tuple[str, int | None, str, str | None]]:
    """(file, line, text, photo) of every text that can be found, in order."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        query = (
            "SELECT path, line, text, photo FROM items WHERE kind = 1 AND code IS NOT NULL ORDER BY path, line, text"
        )
        return db.execute(query).fetchall()


def plant_codes(index: Path) -> None:
    """Give every text a code that no encoder would: one that is encoded again has another afterwards."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("UPDATE items SET code = ? WHERE kind = 1", (bytes(8),))


def planted(index: Path) -> list[str]:
    """The texts that have not been encoded since."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        return sorted(text for (text,) in db.execute("SELECT text FROM items WHERE code = ?", (bytes(8),)))


def best_text(hashcli: Run, index: Path, query: str) -> dict[str, Any]:
    row: dict[str, Any] = json_rows(hashcli("search", query, "--for", "texts", "--json", "--index", index))[0]
    return row


def test_sidecars_are_taken_and_other_texts_are_left_alone(
    hashcli: Run, photos: Path, index: Path, update: Any
) -> None:
    (photos / "chelsea.txt").write_text(f"{CAT}\n\n  a   cat again  \n")
    (photos / "coffee.png.txt").write_text("a cup\n")
    (photos / "trip" / "rocket.TXT").write_text(f"\ufeff{ROCKET}", encoding="utf-8")
    (photos / "notes.txt").write_text("buy milk")
    (photos / "trip" / "chelsea.txt").write_text("no photo of this name is here")
    (photos / ".chelsea.txt").write_text("hidden")
    assert update(photos) == {"texts_added": 4}
    assert texts(index) == [
        ("photos/chelsea.txt", 1, CAT, "photos/chelsea.png"),
        ("photos/chelsea.txt", 3, "a cat again", "photos/chelsea.png"),
        ("photos/coffee.png.txt", 1, "a cup", "photos/coffee.png"),
        ("photos/trip/rocket.TXT", 1, ROCKET, "photos/trip/rocket.jpg"),
    ]
    assert update() == {"texts_unchanged": 4}
    found = best_text(hashcli, index, ROCKET)
    assert (found["text"], found["distance"]) == (ROCKET, 0)
    (facts,) = json_rows(hashcli("info", "--json", "--index", index))
    assert (facts["photos"], facts["texts"], facts["waiting"]) == (len(PHOTOS), 4, 0)
    assert facts["texts_from"] == {"sidecars": 4}
    assert "4 (4 from sidecars)" in hashcli("info", "--index", index).stdout


def test_a_sidecar_given_by_name_is_one_too(hashcli: Run, photos: Path, index: Path, update: Any) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    assert update(photos / "chelsea.txt") == {"texts_added": 1}
    assert texts(index) == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.png")]
    assert update() == {"texts_unchanged": 1}
    for name in ("chelsea.ARW", "chelsea.jpg"):  # the JPEG of such a pair can be shown everywhere
        shutil.copy(SKIMAGE / "rocket.jpg", photos / name)
    (photos / "chelsea.png").unlink()
    assert update() == {"texts_unchanged": 1}
    assert texts(index) == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.jpg")]


def test_what_a_run_did_with_texts_is_one_line(hashcli: Run, photos: Path, index: Path, tiny_model: Path) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    done = hashcli("index", photos, "--index", index, "--model", tiny_model)
    assert done.stderr == f"{len(PHOTOS)} added, 0 skipped; texts: 1 added\n"
    (photos / "chelsea.txt").write_text(f"{CAT}\n{DOG}\n")
    done = hashcli("index", photos, "--index", index)
    assert done.stderr == f"0 added, {len(PHOTOS)} unchanged, 0 skipped; texts: 1 added, 1 unchanged\n"


def test_captions_files_and_lines_given_by_name(
    hashcli: Run, photos: Path, index: Path, update: Any, tmp_path: Path
) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    rows = [
        {"image": "../photos/chelsea.png", "text": CAT},
        {"image": "../photos/trip/rocket.jpg", "caption": ROCKET},
        {"image": "../photos/chelsea.png", "texts": ["one", "two\nlines"]},
    ]
    (lists / "captions.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    (lists / "captions.csv").write_text(f'image,caption\n{photos}/chelsea.png,"a cat, asleep"\nmissing.png,{DOG}\n')
    (lists / "lines.txt").write_text("first\n\nsecond\n")
    (lists / "not-given.txt").write_text("left alone")
    given = [lists / name for name in ("captions.jsonl", "captions.csv", "lines.txt")]
    assert update(*given, status=3) == {"texts_added": 8, "skipped": 1}  # of a photo that is not there
    assert texts(index) == [
        ("lists/captions.csv", 2, "a cat, asleep", "photos/chelsea.png"),
        ("lists/captions.csv", 3, DOG, "lists/missing.png"),
        ("lists/captions.jsonl", 1, CAT, "photos/chelsea.png"),
        ("lists/captions.jsonl", 3, ROCKET, "photos/trip/rocket.jpg"),
        ("lists/captions.jsonl", 5, "one", "photos/chelsea.png"),
        ("lists/captions.jsonl", 5, "two lines", "photos/chelsea.png"),
        ("lists/lines.txt", 1, "first", None),
        ("lists/lines.txt", 3, "second", None),
    ]
    (facts,) = json_rows(hashcli("info", "--json", "--index", index))
    assert facts["texts_from"] == {"captions files": 6, "text files": 2}
    (lists / "lines.txt").write_text("first\nthird\n")
    (lists / "captions.csv").unlink()
    assert update() == {"texts_added": 1, "texts_removed": 3, "texts_unchanged": 5}  # a bare refresh knows them


def test_a_changed_file_encodes_only_what_is_new(photos: Path, index: Path, update: Any) -> None:
    (photos / "chelsea.txt").write_text(f"{CAT}\n{DOG}\n")
    update(photos)
    plant_codes(index)
    (photos / "chelsea.txt").write_text(f"{ROCKET}\n{DOG}\n{CAT}\n{CAT}\n")
    assert update() == {"texts_added": 2, "texts_unchanged": 2}
    assert planted(index) == [CAT, CAT, DOG]  # the second cat is the first one's equal
    assert [(line, text) for _, line, text, _ in texts(index)] == [(1, ROCKET), (2, DOG), (3, CAT), (4, CAT)]
    os.utime(photos / "chelsea.txt")
    assert update() == {"texts_unchanged": 4}


def test_moved_files_encode_nothing(photos: Path, index: Path, update: Any, tmp_path: Path) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    (tmp_path / "captions.csv").write_text(f"image,text\nphotos/coffee.png,{DOG}\nphotos/coffee.png,{ROCKET}\n")
    update(photos, tmp_path / "captions.csv")
    plant_codes(index)
    (photos / "chelsea.png").rename(photos / "trip" / "tabby.png")
    (photos / "chelsea.txt").rename(photos / "trip" / "tabby.txt")
    (tmp_path / "captions.csv").rename(photos / "captions.csv")
    given = [photos, tmp_path, photos / "captions.csv", tmp_path / "captions.csv"]
    assert update(*given, status=3) == {"texts_moved": 3, "skipped": 1}
    assert planted(index) == [CAT, DOG, ROCKET]
    assert texts(index) == [
        ("photos/captions.csv", 2, DOG, "photos/photos/coffee.png"),  # its paths are relative to it
        ("photos/captions.csv", 3, ROCKET, "photos/photos/coffee.png"),
        ("photos/trip/tabby.txt", 1, CAT, "photos/trip/tabby.png"),
    ]


def test_a_sidecar_goes_with_its_photo(photos: Path, index: Path, update: Any) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    update(photos)
    (photos / "chelsea.png").rename(photos / "tabby.png")
    assert update() == {"texts_removed": 1}
    (photos / "tabby.png").rename(photos / "chelsea.jpg")  # another photo, the text unchanged
    assert update() == {"texts_added": 1}
    assert texts(index) == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.jpg")]
    (photos / "chelsea.txt").unlink()
    assert update() == {"texts_removed": 1}


def test_a_photo_that_takes_the_place_of_another_takes_its_sidecar(photos: Path, index: Path, update: Any) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    update(photos)
    plant_codes(index)
    Image.open(photos / "chelsea.png").convert("RGB").save(photos / "chelsea.jpg")
    (photos / "chelsea.png").unlink()
    assert update() == {"texts_unchanged": 1}
    assert texts(index) == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.jpg")]
    assert planted(index) == [CAT]


def test_unreachable_folders_keep_their_texts(
    hashcli: Run, photos: Path, index: Path, update: Any, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "captions.csv").write_text(f"image,text\n{photos}/coffee.png,{CAT}\n")
    (photos / "chelsea.txt").write_text(DOG)
    update(photos, disk / "captions.csv")
    photos.rename(tmp_path / "unplugged")
    disk.rename(tmp_path / "unplugged too")
    done = hashcli("index", "--index", index, status=3)
    assert f"{photos}: not reachable; its {len(PHOTOS)} photos and texts are kept" in done.stderr
    assert f"{disk}: not reachable; its texts are kept" in done.stderr
    assert [text for _, _, text, _ in texts(index)] == [CAT, DOG]


def test_forget_drops_texts(hashcli: Run, photos: Path, index: Path, update: Any, tmp_path: Path) -> None:
    (photos / "trip" / "rocket.txt").write_text(f"{ROCKET}\n{CAT}")
    (tmp_path / "lines.txt").write_text(DOG)
    update(photos, tmp_path / "lines.txt")
    (row,) = json_rows(hashcli("index", "--forget", photos / "trip", "--index", index, "--json"))
    assert row == {"removed": 2, "texts_removed": 2}
    done = hashcli("index", "--forget", tmp_path / "lines.txt", "--index", index)
    assert "0 photos and 1 texts dropped" in done.stderr
    assert texts(index) == []


def test_photos_only(hashcli: Run, photos: Path, index: Path, update: Any, tmp_path: Path) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    (tmp_path / "lines.txt").write_text(DOG)
    described(photos / "described.jpg", description="two cats asleep")
    assert update(photos, "--no-texts") == {"texts_added": 1}  # written down as long as the photo is open
    assert update(tmp_path / "lines.txt", "--no-texts", status=3) == {"texts_unchanged": 1, "skipped": 1}
    assert texts(index) == []
    assert update(photos) == {"texts_added": 1, "texts_updated": 1}
    (photos / "chelsea.txt").write_text(DOG)
    (photos / "described.jpg").rename(photos / "renamed.jpg")
    assert update(photos, "--no-texts") == {"texts_moved": 1, "texts_unchanged": 1}
    said = [(path, text) for path, _, text, _ in texts(index)]
    assert said == [("photos/chelsea.txt", CAT), ("photos/renamed.jpg", "two cats asleep")]


def test_dry_run_names_text_files(hashcli: Run, photos: Path, index: Path, update: Any, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("image,text\nphotos/chelsea.png,one\n")
    (photos / "chelsea.txt").write_text(CAT)
    (photos / "coffee.txt").write_text("a cup")
    update(photos, tmp_path / "captions.csv")
    os.utime(tmp_path / "captions.csv")
    (photos / "chelsea.txt").rename(photos / "coins.txt")
    (photos / "coffee.txt").unlink()
    (photos / "brick.txt").write_text("a wall")
    done = hashcli("index", "--index", index, "--dry-run")
    assert sorted(done.stdout.splitlines()) == [
        f"add\t{photos / 'brick.txt'}",
        f"move\t{photos / 'chelsea.txt'} -> {photos / 'coins.txt'}",
        f"remove\t{photos / 'coffee.txt'}",
    ]
    assert len(texts(index)) == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("captions.jsonl", b'{"image": "a.jpg", "text": "x"}\n{"image": ', "line 2: not JSON"),
        ("captions.jsonl", b'{"text": "x"}', "line 1: no photo"),
        ("captions.jsonl", b'{"image": "\\ud800", "text": "x"}', "line 1: no photo"),
        ("captions.csv", b"photo,text\na.jpg,x\n", "line 1: no columns named image and text"),
        ("captions.csv", b"image,text\na.jpg,\xff\n", "not UTF-8 text"),
        ("captions.jsonl", b'{"image": "a.jpg", "txt": "x"}', "line 1: no text"),
        ("lines.txt", b"caf\xe9", "not UTF-8 text"),
    ],
)
def test_a_file_that_will_not_do_is_named_and_its_former_texts_are_kept(
    hashcli: Run, index: Path, update: Any, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    good = {"captions.jsonl": f'{{"image": "a.jpg", "text": "{CAT}"}}', "captions.csv": f"image,text\na.jpg,{CAT}\n"}
    (tmp_path / "a.jpg").touch()
    (tmp_path / name).write_text(good.get(name, CAT))
    assert update(tmp_path / name) == {"texts_added": 1}
    (tmp_path / name).write_bytes(content)
    done = hashcli("index", "--index", index, status=3)
    assert f"skipped {tmp_path / name}: {said}" in done.stderr
    assert [text for _, _, text, _ in texts(index)] == [CAT]
    assert update(status=3) == {"texts_unchanged": 1, "skipped": 1}


def test_captions_of_photos_that_are_not_there_are_counted(
    hashcli: Run, photos: Path, index: Path, tiny_model: Path, tmp_path: Path
) -> None:
    captions = tmp_path / "captions.csv"  # written for the folder below
    captions.write_text(f"image,text\nchelsea.png,{CAT}\nchelsea.png,{DOG}\nphotos/coffee.png,a cup\n")
    done = hashcli("index", captions, "--index", index, "--model", tiny_model, status=3)
    assert f"skipped the photos of 2 of 3 captions in {captions}: not there; paths are relative to" in done.stderr
    assert "texts: 3 added" in done.stderr
    assert hashcli("index", "--index", index).stderr == "0 added, 0 skipped; texts: 3 unchanged\n"  # it is said once


def test_empty_captions_are_passed_over(index: Path, photos: Path, update: Any, tmp_path: Path) -> None:
    (photos / "captions.csv").write_text(f"image,text\nchelsea.png,\ncoffee.png,{CAT}\n")
    objects = [{"image": "brick.png", "texts": ["", DOG]}, {"image": "brick.png", "texts": []}]
    (photos / "captions.jsonl").write_text("\n".join(map(json.dumps, objects)))
    assert update(photos / "captions.csv", photos / "captions.jsonl") == {"texts_added": 2}
    assert [text for _, _, text, _ in texts(index)] == [CAT, DOG]


def test_dates_of_texts_are_those_of_their_photos(hashcli: Run, photos: Path, index: Path, update: Any) -> None:
    described(photos / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    (photos / "a.txt").write_text(DOG)
    (photos / "coffee.txt").write_text("a cup")
    os.utime(photos / "coffee.png", (1.6e9, 1.6e9))  # September 2020
    (photos / "lines.txt").write_text(ROCKET)
    update(photos, photos / "lines.txt")

    def found(*limits: str) -> list[str]:
        arguments = ("search", CAT, "--for", "texts", "--json", "--index", index)
        return sorted(row["text"] for row in json_rows(hashcli(*arguments, *limits, status=None)))

    assert found("--after", "2021", "--before", "2022") == [CAT, DOG]
    assert found("--before", "2021") == ["a cup"]
    assert found("--after", "2022") == [ROCKET]  # of now


def test_long_and_odd_texts(hashcli: Run, index: Path, update: Any, tmp_path: Path) -> None:
    odd = ["x" * 3000, "日本語 の テキスト", "tab\there", "\ud800 half a character", "nul\0byte"]
    rows = [json.dumps({"image": os.fsdecode(b"caf\xe9.jpg"), "text": text}) for text in odd]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows))
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"), "wb"):
        assert update(tmp_path / "odd.jsonl") == {"texts_added": 5}
    rows_found = json_rows(hashcli("search", CAT, "--for", "texts", "--json", "--index", index))
    found = {row["line"]: row for row in rows_found}
    assert found[1]["text"] == "x" * 2000
    assert [found[line]["text"] for line in (2, 3, 4)] == ["日本語 の テキスト", "tab here", "? half a character"]
    assert os.path.basename(os.fsencode(found[2]["photo"])) == b"caf\xe9.jpg"


def test_texts_of_two_models_never_mix(photos: Path, index: Path, update: Any, tmp_path: Path) -> None:
    (photos / "chelsea.txt").write_text(CAT)
    (tmp_path / "lines.txt").write_text(f"{DOG}\n{CAT}\n")
    described(photos / "described.jpg", description=f"{ROCKET} launch")
    update(photos, tmp_path / "lines.txt")
    before = codes(index)
    assert update("--rehash", "--model", make_tiny_model(tmp_path / "other", seed=1)) == {"texts_updated": 4}
    assert len(before | codes(index)) == 6  # those of the two cats are equal
    plant_codes(index)
    assert update("--rehash") == {"texts_updated": 4}
    assert planted(index) == []


def test_texts_that_a_killed_run_left_waiting_are_encoded_by_the_next(
    hashcli: Run, photos: Path, index: Path, update: Any
) -> None:
    (photos / "chelsea.txt").write_text(f"{CAT}\n{DOG}\n")
    update(photos)
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("UPDATE items SET code = NULL WHERE text = ?", (DOG,))
    (facts,) = json_rows(hashcli("info", "--json", "--index", index))
    assert (facts["texts"], facts["waiting"]) == (1, 1)
    assert update() == {"texts_updated": 1, "texts_unchanged": 1}
    assert best_text(hashcli, index, DOG)["distance"] == 0


def test_descriptions_in_photos(hashcli: Run, photos: Path, index: Path, update: Any) -> None:
    described(photos / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    described(photos / "b.jpg", description="OLYMPUS DIGITAL CAMERA", comment=b"ASCII\0\0\0" + DOG.encode())
    assert update(photos) == {"texts_added": 2}
    assert texts(index) == [("photos/a.jpg", None, CAT, "photos/a.jpg"), ("photos/b.jpg", None, DOG, "photos/b.jpg")]
    assert taken(index) == {"photos/a.jpg": 1625401800}
    found = best_text(hashcli, index, DOG)
    assert (found["path"], found["photo"], found.get("line")) == (str(photos / "b.jpg"), str(photos / "b.jpg"), None)
    (facts,) = json_rows(hashcli("info", "--json", "--index", index))
    assert facts["texts_from"] == {"photos": 2}
    plant_codes(index)
    os.utime(photos / "a.jpg")
    assert update() == {"texts_unchanged": 2}
    assert planted(index) == [CAT, DOG]


def test_descriptions_go_with_their_photos(photos: Path, index: Path, update: Any) -> None:
    described(photos / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    described(photos / "b.jpg", description=DOG)
    described(photos / "c.jpg", description=ROCKET)
    described(photos / "d.jpg", description="two words")
    update(photos)
    plant_codes(index)
    (photos / "a.jpg").rename(photos / "trip" / "moved.jpg")
    shutil.copy(photos / "trip" / "moved.jpg", photos / "copied.jpg")
    (photos / "b.jpg").replace(photos / "c.jpg")
    (photos / "d.jpg").write_bytes(b"damaged")
    assert update(status=3) == {"texts_added": 1, "texts_moved": 2, "texts_removed": 2, "skipped": 1}
    assert [(path, text) for path, _, text, _ in texts(index)] == [
        ("photos/c.jpg", DOG),
        ("photos/copied.jpg", CAT),
        ("photos/trip/moved.jpg", CAT),
    ]
    assert planted(index) == [CAT, CAT, DOG]  # the copy's is the same
    assert taken(index) == {"photos/trip/moved.jpg": 1625401800, "photos/copied.jpg": 1625401800}
    described(photos / "c.jpg", description="a new word")
    (photos / "copied.jpg").unlink()
    assert update(status=3) == {"texts_added": 1, "texts_removed": 2, "texts_unchanged": 1, "skipped": 1}


def test_an_older_index_learns_dates_and_descriptions_without_encoding(
    hashcli: Run, photos: Path, index: Path, update: Any
) -> None:
    described(photos / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    update(photos)
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("DELETE FROM items WHERE kind = 1")
        db.execute("UPDATE items SET code = ?", (bytes(8),))
    to_version_1(index)
    away = photos.rename(photos.with_name("away"))
    hashcli("index", "--index", index, status=3)  # cannot read a photo yet: none has a date
    assert hashcli("search", CAT, "--before", "2100", "--index", index).stdout == ""
    assert hashcli("search", CAT, "--index", index).stdout
    away.rename(photos)
    (row,) = json_rows(hashcli("index", "--json", "--index", index))
    assert (row["unchanged"], row["texts_added"]) == (len(PHOTOS) + 1, 1)
    assert taken(index) == {"photos/a.jpg": 1625401800}
    with sqlite3.connect(index / "catalog.sqlite") as db:
        assert db.execute("SELECT count(*) FROM items WHERE kind = 0 AND code != ?", (bytes(8),)).fetchone() == (0,)


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
    arguments = ("index", photos, *lists, "--model", tiny_model, "--index")
    command = [sys.executable, "-m", "hashcli", *map(str, arguments), "killed"]
    grown = set()
    for round_ in range(6):
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        commits = kill_after_commits(
            process, tmp_path / "killed", int(rng.integers(1, 40)), float(rng.uniform(0, 0.02))
        )
        searched = hashcli("search", CAT, "--for", "texts", "--index", "killed", status=None)
        assert searched.returncode == 0 or "There is no index" in searched.stderr or "empty" in searched.stderr
        grown.add(len(texts(tmp_path / "killed")) if commits else 0)
        lists[round_ % 3].write_text(sentences(1500) + lists[(round_ + 1) % 3].read_text()[:100_000])
        for number, photo in enumerate(sorted(photos.glob("*.png"))[:4]):
            photo.with_suffix(".txt").write_text(sentences(number))
    assert len(grown - {0}) >= 2  # batches were kept as they came
    hashcli(*arguments, "killed")
    hashcli(*arguments, "undisturbed")
    everything = (
        "SELECT kind, path, size, mtime_ns, hash, text, code, line, photo, taken FROM items ORDER BY 1, 2, 8, 6"
    )
    contents = []
    for index in ("killed", "undisturbed"):
        with sqlite3.connect(tmp_path / index / "catalog.sqlite") as db:
            contents.append(db.execute(everything).fetchall())
    assert contents[0] == contents[1]
    assert all(row[6] is not None for row in contents[0])
    assert (tmp_path / "killed" / "texts.faiss").exists()


def test_a_text_search_while_texts_are_indexed_answers(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("".join(f"a cat and {number}\n" for number in range(30_000)))
    command = [sys.executable, "-m", "hashcli", "index", "lines.txt", "--index", "ix", "--model", str(tiny_model)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    answered = 0
    while process.poll() is None:
        done = hashcli("search", CAT, "--for", "texts", "--index", "ix", status=None)
        answered += bool(done.stdout)
        assert done.stdout or "There is no index" in done.stderr or "empty" in done.stderr or "no text" in done.stderr
    assert process.returncode == 0
    assert answered >= 1


def taken(index: Path) -> dict[str, int]:
    """When each photo was taken that says so."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        return dict(db.execute("SELECT path, taken FROM items WHERE kind = 0 AND taken IS NOT NULL"))


def codes(index: Path) -> set[bytes]:
    with sqlite3.connect(index / "catalog.sqlite") as db:
        return {code for (code,) in db.execute("SELECT code FROM items WHERE kind = 1")}


def described(path: Path, description: str = "", comment: bytes = b"", taken: str = "") -> None:
    """A real photo with EXIF data in it."""
    exif = Image.Exif()
    if description:
        exif[0x010E] = description
    if comment:
        exif.get_ifd(0x8769)[0x9286] = comment
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    Image.open(SKIMAGE / "rocket.jpg").resize((90, 60)).save(path, exif=exif.tobytes())
