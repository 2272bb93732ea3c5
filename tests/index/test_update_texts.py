"""Bringing the texts of an index up to date: where they come from, which are encoded, and which are kept."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from hashcli.index.catalog import Kind
from hashcli.index.update import forget, update
from hashcli.index.update_callback import UpdateCallback
from tests.conftest import PHOTOS, SKIMAGE, make_tiny_model
from tests.index.indexing import PLANTED, IndexFolder, described, to_version

# The tiny model knows these words; all others are the same to it.
CAT, DOG, ROCKET = "a cat", "a dog", "a rocket"


@pytest.fixture
def index(new_index: IndexFolder) -> IndexFolder:
    """Without anything in it: the tests put texts beside the photos first."""
    return new_index


def texts_by_source(index: IndexFolder) -> dict[str, int]:
    with index.read() as catalog:
        return catalog.count_texts()


# --- sidecars ---


def test_sidecars_are_taken_and_other_texts_are_left_alone(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text(f"{CAT}\n\n  a   cat again  \n")
    (album / "coffee.png.txt").write_text("a cup\n")
    (album / "trip" / "rocket.TXT").write_text(f"\ufeff{ROCKET}", encoding="utf-8")
    (album / "notes.txt").write_text("buy milk")
    (album / "trip" / "chelsea.txt").write_text("no photo of this name is here")
    (album / ".chelsea.txt").write_text("hidden")
    assert index.update(album) == {"added": len(PHOTOS), "texts_added": 4}
    assert index.report.stages == [[len(PHOTOS), len(PHOTOS)], [3, 3], [4, 4]]  # photos, text files, texts
    assert index.texts() == [
        ("photos/chelsea.txt", 1, CAT, "photos/chelsea.png"),
        ("photos/chelsea.txt", 3, "a cat again", "photos/chelsea.png"),
        ("photos/coffee.png.txt", 1, "a cup", "photos/coffee.png"),
        ("photos/trip/rocket.TXT", 1, ROCKET, "photos/trip/rocket.jpg"),
    ]
    assert index.update_texts() == {"texts_unchanged": 4}
    assert texts_by_source(index) == {"sidecars": 4}


def test_a_sidecar_given_by_name_is_one_too(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text(CAT)
    assert index.update_texts(album / "chelsea.txt") == {"texts_added": 1}
    assert index.texts() == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.png")]
    assert index.update_texts() == {"texts_unchanged": 1}
    for name in ("chelsea.ARW", "chelsea.jpg"):  # the JPEG of such a pair can be shown everywhere
        shutil.copy(SKIMAGE / "rocket.jpg", album / name)
    (album / "chelsea.png").unlink()
    assert index.update_texts() == {"texts_unchanged": 1}
    assert index.texts() == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.jpg")]


def test_a_sidecar_goes_with_its_photo(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text(CAT)
    index.update(album)
    (album / "chelsea.png").rename(album / "tabby.png")
    assert index.update_texts() == {"texts_removed": 1}
    (album / "tabby.png").rename(album / "chelsea.jpg")  # another photo, the text unchanged
    assert index.update_texts() == {"texts_added": 1}
    assert index.texts() == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.jpg")]
    (album / "chelsea.txt").unlink()
    assert index.update_texts() == {"texts_removed": 1}


def test_a_photo_that_takes_the_place_of_another_takes_its_sidecar(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text(CAT)
    index.update(album)
    index.plant_codes("kind = 1")
    Image.open(album / "chelsea.png").convert("RGB").save(album / "chelsea.jpg")
    (album / "chelsea.png").unlink()
    assert index.update_texts() == {"texts_unchanged": 1}
    assert index.texts() == [("photos/chelsea.txt", 1, CAT, "photos/chelsea.jpg")]
    assert index.planted() == [CAT]


# --- captions files and lines ---


def test_captions_files_and_lines_given_by_name(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    rows = [
        {"image": "../photos/chelsea.png", "text": CAT},
        {"image": "../photos/trip/rocket.jpg", "caption": ROCKET},
        {"image": "../photos/chelsea.png", "texts": ["one", "two\nlines"]},
    ]
    (lists / "captions.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    (lists / "captions.csv").write_text(f'image,caption\n{album}/chelsea.png,"a cat, asleep"\nmissing.png,{DOG}\n')
    (lists / "lines.txt").write_text("first\n\nsecond\n")
    (lists / "not-given.txt").write_text("left alone")
    given = [lists / name for name in ("captions.jsonl", "captions.csv", "lines.txt")]
    assert index.update_texts(*given) == {"texts_added": 8, "skipped": 1}  # one is of a photo that is not there
    assert index.texts() == [
        ("lists/captions.csv", 2, "a cat, asleep", "photos/chelsea.png"),
        ("lists/captions.csv", 3, DOG, "lists/missing.png"),
        ("lists/captions.jsonl", 1, CAT, "photos/chelsea.png"),
        ("lists/captions.jsonl", 3, ROCKET, "photos/trip/rocket.jpg"),
        ("lists/captions.jsonl", 5, "one", "photos/chelsea.png"),
        ("lists/captions.jsonl", 5, "two lines", "photos/chelsea.png"),
        ("lists/lines.txt", 1, "first", None),
        ("lists/lines.txt", 3, "second", None),
    ]
    assert texts_by_source(index) == {"captions files": 6, "text files": 2}
    (lists / "lines.txt").write_text("first\nthird\n")
    (lists / "captions.csv").unlink()
    counts = {"texts_added": 1, "texts_removed": 3, "texts_unchanged": 5}
    assert index.update_texts() == counts  # an update without paths knows them


def test_captions_of_photos_that_are_not_there_are_counted(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.csv"  # written for the folder below
    captions.write_text(f"image,text\nchelsea.png,{CAT}\nchelsea.png,{DOG}\nphotos/coffee.png,a cup\n")
    assert index.update_texts(captions) == {"texts_added": 3, "skipped": 1}
    ((what, reason),) = index.report.skips
    assert what == f"the photos of 2 of 3 captions in {captions}"
    assert reason.startswith("not there; paths are relative to the file")
    assert index.update_texts() == {"texts_unchanged": 3}  # this is reported once


def test_empty_captions_are_passed_over(index: IndexFolder, album: Path) -> None:
    (album / "captions.csv").write_text(f"image,text\nchelsea.png,\ncoffee.png,{CAT}\n")
    objects = [{"image": "brick.png", "texts": ["", DOG]}, {"image": "brick.png", "texts": []}]
    (album / "captions.jsonl").write_text("\n".join(map(json.dumps, objects)))
    assert index.update_texts(album / "captions.csv", album / "captions.jsonl") == {"texts_added": 2}
    assert [text for _, _, text, _ in index.texts()] == [CAT, DOG]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
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
def test_an_invalid_file_is_named_and_its_former_texts_are_kept(
    index: IndexFolder, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    good = {"captions.jsonl": f'{{"image": "a.jpg", "text": "{CAT}"}}', "captions.csv": f"image,text\na.jpg,{CAT}\n"}
    (tmp_path / "a.jpg").touch()
    (tmp_path / name).write_text(good.get(name, CAT))
    assert index.update_texts(tmp_path / name) == {"texts_added": 1}
    (tmp_path / name).write_bytes(content)
    for _ in range(2):
        assert index.update_texts() == {"texts_unchanged": 1, "skipped": 1}
        ((skipped, said),) = index.report.skips
        assert skipped == str(tmp_path / name)
        assert said.startswith(reason)
    assert [text for _, _, text, _ in index.texts()] == [CAT]


def test_long_and_odd_texts(index: IndexFolder, tmp_path: Path) -> None:
    odd = ["x" * 3000, "日本語 の テキスト", "tab\there", "\ud800 half a character", "nul\0byte"]
    rows = [json.dumps({"image": os.fsdecode(b"caf\xe9.jpg"), "text": text}) for text in odd]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows))
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"), "wb"):
        assert index.update_texts(tmp_path / "odd.jsonl") == {"texts_added": 5}
    with index.read() as catalog:
        items = catalog.items(catalog.codes(Kind.TEXT)[0].tolist()).values()
    texts = {item.line: item.text for item in items}
    assert texts == {1: "x" * 2000, 2: "日本語 の テキスト", 3: "tab here", 4: "half a character", 5: "nul byte"}
    assert {os.path.basename(os.fsencode(item.photo or "")) for item in items} == {b"caf\xe9.jpg"}


def test_names_in_another_unicode_form(index: IndexFolder, album: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (album / "coffee.png").rename(album / f"{decomposed}.png")
    (album / f"{composed}.txt").write_text(CAT)
    (album / "list.csv").write_text(f"image,text\n{composed}.png,{DOG}\n", encoding="utf-8")
    assert index.update_texts(album, album / "list.csv") == {"texts_added": 2}
    assert {photo for *_, photo in index.texts()} == {f"photos/{decomposed}.png"}


# --- what is encoded ---


def test_a_changed_file_encodes_only_what_is_new(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text(f"{CAT}\n{DOG}\n")
    index.update(album)
    index.plant_codes("kind = 1")
    (album / "chelsea.txt").write_text(f"{ROCKET}\n{DOG}\n{CAT}\n{CAT}\n")
    assert index.update_texts() == {"texts_added": 2, "texts_unchanged": 2}
    assert index.planted() == [CAT, CAT, DOG]  # the second cat has the code of the first
    assert [(line, text) for _, line, text, _ in index.texts()] == [(1, ROCKET), (2, DOG), (3, CAT), (4, CAT)]
    os.utime(album / "chelsea.txt")
    assert index.update_texts() == {"texts_unchanged": 4}


def test_moved_files_encode_nothing(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    (album / "chelsea.txt").write_text(CAT)
    (tmp_path / "captions.csv").write_text(f"image,text\nphotos/coffee.png,{DOG}\nphotos/coffee.png,{ROCKET}\n")
    index.update(album, tmp_path / "captions.csv")
    index.plant_codes("kind = 1")
    (album / "chelsea.png").rename(album / "trip" / "tabby.png")
    (album / "chelsea.txt").rename(album / "trip" / "tabby.txt")
    (tmp_path / "captions.csv").rename(album / "captions.csv")
    given = [album, tmp_path, album / "captions.csv", tmp_path / "captions.csv"]
    assert index.update_texts(*given) == {"texts_moved": 3, "skipped": 1}
    assert index.planted() == [CAT, DOG, ROCKET]
    assert index.texts() == [
        ("photos/captions.csv", 2, DOG, "photos/photos/coffee.png"),  # its paths are relative to it
        ("photos/captions.csv", 3, ROCKET, "photos/photos/coffee.png"),
        ("photos/trip/tabby.txt", 1, CAT, "photos/trip/tabby.png"),
    ]


def test_texts_of_two_models_never_mix(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    (album / "chelsea.txt").write_text(CAT)
    (tmp_path / "lines.txt").write_text(f"{DOG}\n{CAT}\n")
    described(album / "described.jpg", description=f"{ROCKET} launch")
    index.update(album, tmp_path / "lines.txt")
    before = set(index.sql("SELECT code FROM items WHERE kind = 1"))
    other = make_tiny_model(tmp_path / "other", seed=1)
    assert index.update_texts(rehash=True, model=other) == {"texts_updated": 4}
    after = set(index.sql("SELECT code FROM items WHERE kind = 1"))
    assert len(before | after) == 6  # the two cats have the same code
    index.plant_codes("kind = 1")
    assert index.update_texts(rehash=True) == {"texts_updated": 4}
    assert index.planted() == []


def test_texts_that_a_killed_update_left_waiting_are_encoded_by_the_next(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text(f"{CAT}\n{DOG}\n")
    index.update(album)
    before = index.rows()
    index.sql("UPDATE items SET code = NULL WHERE text = ?", DOG)
    with index.read() as catalog:
        assert (catalog.count(Kind.TEXT), catalog.count_all_texts(), catalog.count_waiting()) == (1, 2, 1)
    assert index.update_texts() == {"texts_updated": 1, "texts_unchanged": 1}
    assert index.rows() == before


def test_photos_only(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    (album / "chelsea.txt").write_text(CAT)
    (tmp_path / "lines.txt").write_text(DOG)
    described(album / "described.jpg", description="two cats asleep")
    assert index.update_texts(album, texts=False) == {"texts_added": 1}  # recorded while the photo is open
    assert index.update_texts(tmp_path / "lines.txt", texts=False) == {"texts_unchanged": 1, "skipped": 1}
    assert index.report.skips == [(str(tmp_path / "lines.txt"), "a text file, and texts are left out")]
    assert index.texts() == []
    assert index.update_texts(album) == {"texts_added": 1, "texts_updated": 1}
    (album / "chelsea.txt").write_text(DOG)
    (album / "described.jpg").rename(album / "renamed.jpg")
    assert index.update_texts(album, texts=False) == {"texts_moved": 1, "texts_unchanged": 1}
    paths_and_texts = [(path, text) for path, _, text, _ in index.texts()]
    assert paths_and_texts == [("photos/chelsea.txt", CAT), ("photos/renamed.jpg", "two cats asleep")]


# --- folders that are away, and forgetting ---


def test_unreachable_folders_keep_their_texts(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "captions.csv").write_text(f"image,text\n{album}/coffee.png,{CAT}\n")
    (album / "chelsea.txt").write_text(DOG)
    index.update(album, disk / "captions.csv")
    album.rename(tmp_path / "unplugged")
    disk.rename(tmp_path / "unplugged too")
    assert index.update_texts() == {"texts_unchanged": 2, "skipped": 2}
    assert index.report.skips == [
        (str(disk), "not reachable; its texts are kept"),
        (str(album), f"not reachable; its {len(PHOTOS)} photos and texts are kept"),
    ]
    assert [text for _, _, text, _ in index.texts()] == [CAT, DOG]


def test_forget_drops_texts(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    (album / "trip" / "rocket.txt").write_text(f"{ROCKET}\n{CAT}")
    (tmp_path / "lines.txt").write_text(DOG)
    index.update(album, tmp_path / "lines.txt")
    assert forget(index.folder, [str(album / "trip")]) == (2, 2)
    assert forget(index.folder, [str(tmp_path / "lines.txt")]) == (0, 1)
    assert index.texts() == []


# --- descriptions in photos ---


def test_descriptions_in_photos(index: IndexFolder, album: Path) -> None:
    described(album / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    described(album / "b.jpg", description="OLYMPUS DIGITAL CAMERA", comment=b"ASCII\0\0\0" + DOG.encode())
    assert index.update_texts(album) == {"texts_added": 2, "texts_left_out": 1}
    assert index.texts() == [("photos/a.jpg", None, CAT, "photos/a.jpg"), ("photos/b.jpg", None, DOG, "photos/b.jpg")]
    assert index.taken() == {"photos/a.jpg": 1625401800}
    assert texts_by_source(index) == {"photos": 2}
    index.plant_codes("kind = 1")
    os.utime(album / "a.jpg")
    assert index.update_texts() == {"texts_unchanged": 2}
    assert index.planted() == [CAT, DOG]


def test_descriptions_go_with_their_photos(index: IndexFolder, album: Path) -> None:
    described(album / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    described(album / "b.jpg", description=DOG)
    described(album / "c.jpg", description=ROCKET)
    described(album / "d.jpg", description="two words")
    index.update(album)
    index.plant_codes("kind = 1")
    (album / "a.jpg").rename(album / "trip" / "moved.jpg")
    shutil.copy(album / "trip" / "moved.jpg", album / "copied.jpg")
    (album / "b.jpg").replace(album / "c.jpg")
    (album / "d.jpg").write_bytes(b"damaged")
    assert index.update_texts() == {"texts_added": 1, "texts_moved": 2, "texts_removed": 2, "skipped": 1}
    assert [(path, text) for path, _, text, _ in index.texts()] == [
        ("photos/c.jpg", DOG),
        ("photos/copied.jpg", CAT),
        ("photos/trip/moved.jpg", CAT),
    ]
    assert index.planted() == [CAT, CAT, DOG]  # the copy has the code of the original
    assert index.taken() == {"photos/trip/moved.jpg": 1625401800, "photos/copied.jpg": 1625401800}
    described(album / "c.jpg", description="a new word")
    (album / "copied.jpg").unlink()
    assert index.update_texts() == {"texts_added": 1, "texts_removed": 2, "texts_unchanged": 1, "skipped": 1}


def test_a_description_is_never_left_under_the_old_name_of_its_photo(index: IndexFolder, album: Path) -> None:
    """Whenever an update stops: a photo and its descriptions move in one transaction."""

    class Interrupting(UpdateCallback):
        def advanced(self, count: int) -> None:  # called when a batch has been committed
            raise KeyboardInterrupt

    described(album / "a.jpg", description=CAT)
    described(album / "b.jpg", description=DOG)
    index.update(album)
    index.plant_codes("kind = 1")
    (album / "a.jpg").rename(album / "c.jpg")
    (album / "b.jpg").unlink()
    with pytest.raises(KeyboardInterrupt):
        update(index.folder, [], callback=Interrupting())
    assert [(path, text) for path, _, text, _ in index.texts()] == [("photos/b.jpg", DOG), ("photos/c.jpg", CAT)]
    assert index.update_texts() == {"texts_removed": 1, "texts_unchanged": 1}
    assert index.texts() == [("photos/c.jpg", None, CAT, "photos/c.jpg")]
    assert index.planted() == [CAT]


def test_descriptions_that_an_older_hashcli_left_behind_are_removed(index: IndexFolder, album: Path) -> None:
    described(album / "a.jpg", description=CAT)
    index.update(album)
    columns = "kind, size, mtime_ns, hash, text, code"
    index.sql(
        f"INSERT INTO items (path, photo, {columns}) "
        f"SELECT 'photos/old.jpg', 'photos/old.jpg', {columns} FROM items WHERE kind = 1"
    )
    index.set_check_values()
    assert index.update_texts(album / "trip") == {"texts_removed": 1, "texts_unchanged": 1}
    assert index.texts() == [("photos/a.jpg", None, CAT, "photos/a.jpg")]


def test_an_older_index_learns_dates_and_descriptions_without_encoding(index: IndexFolder, album: Path) -> None:
    described(album / "a.jpg", description=CAT, taken="2021:07:04 12:30:00")
    index.update(album)
    index.sql("DELETE FROM items WHERE kind = 1")
    index.plant_codes()
    to_version(1, index.folder)
    away = album.rename(album.with_name("away"))
    index.update()  # cannot read a photo yet: none has a date
    with index.read() as catalog:
        assert {fields[1:3] for fields in catalog.filter_fields(Kind.IMAGE)} == {(None, None)}
    away.rename(album)
    assert index.update() == {"unchanged": len(PHOTOS) + 1, "texts_added": 1}
    assert index.taken() == {"photos/a.jpg": 1625401800}
    assert set(index.codes().values()) == {PLANTED}
