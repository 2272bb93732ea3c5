"""hashcli search: queries of several parts, from elsewhere, many at once, and among chosen photos only."""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.hashmodel.codes import pack, unpack
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import find_model
from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows
from tests.index.files.test_metadata import gps


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photos in two folders, each of the first of a month of 2023, indexed into `ix`. Not to be changed."""
    home = tmp_path_factory.mktemp("album")
    for month, name in enumerate(PHOTOS, start=1):
        folder = home / ("first" if month <= 6 else "second")
        folder.mkdir(exist_ok=True)
        with Image.open(SKIMAGE / name) as photo:
            photo.save(folder / name)  # without the dates that some of them have inside
        os.utime(folder / name, (datetime(2023, month, 1).timestamp(),) * 2)
    command = [sys.executable, "-m", "hashcli", "index", "first", "second", "--index", "ix"]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return home


@pytest.fixture(scope="module")
def model() -> HashModel:
    return HashModel(find_model("lite-256"))


def names(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [Path(row["path"]).name for row in json_rows(done)]


def in_order(album: Path, model: HashModel, output: np.ndarray) -> list[str]:
    """All photos by the asymmetric score, computed here."""
    photos = [path for name in PHOTOS for path in album.glob(f"*/{name}")]
    outputs = np.concatenate([model.encode_pixels(model.load_pixels(str(path))[None]) for path in photos])
    return [photos[i].name for i in np.argsort(-(np.sign(outputs) @ output))]


def test_words_and_photos_add_up_with_their_weights(hashcli: Run, album: Path, model: HashModel) -> None:
    cat, grass, clock = model.encode_texts(["a cat", "grass", "a clock"])
    coins = model.encode_pixels(model.load_pixels(str(album / "second" / "coins.png"))[None])[0]
    cat, grass, clock, coins = (output / np.linalg.norm(output) for output in (cat, grass, clock, coins))
    asked = ["--text", "a cat", "--text", "0.5:grass", "--image", f"2:{album}/second/coins.png", "--not", "3: a clock"]
    found = hashcli("search", *asked, "-k", 12, "--all", "--json", "--index", album / "ix")
    assert names(found) == in_order(album, model, cat + 0.5 * grass + 2 * coins - 3 * clock)
    words = hashcli("search", "a", "cat", "--text", "grass", "-k", 12, "--all", "--json", "--index", album / "ix")
    assert names(words) == in_order(album, model, cat + grass)


def test_what_is_not_wanted_goes_down(hashcli: Run, album: Path) -> None:
    with_cat = names(hashcli("search", "an animal or a cup", "-k", 12, "--all", "--json", "--index", album / "ix"))
    without = names(
        hashcli("search", "an animal or a cup", "--not", "a cat", "-k", 12, "--all", "--json", "--index", album / "ix")
    )
    assert without.index("chelsea.png") > with_cat.index("chelsea.png")
    photo = album / "first" / "chelsea.png"
    unlike = names(
        hashcli("search", "a cat", "--not-image", photo, "-k", 12, "--all", "--json", "--index", album / "ix")
    )
    assert unlike.index("chelsea.png") > 0


def test_bare_words_have_no_weight(hashcli: Run, album: Path) -> None:
    """2:30 is a time, also with --text: with digits after the colon, the number before it is not a weight."""
    printed = [hashcli("search", *query, "--index", album / "ix").stdout for query in (["2:30"], ["--text", "2:30"])]
    assert printed[0] == printed[1]
    bare, weighed = (
        hashcli("search", *query, "--all", "--index", album / "ix") for query in (["2:dog"], ["--text", "2:dog"])
    )
    assert "--text 2:dog" in bare.stderr
    assert bare.stdout != weighed.stdout == hashcli("search", "dog", "--all", "--index", album / "ix").stdout


@pytest.mark.parametrize(
    "query", [("--not", "dog"), ("--text", "0:dog"), ("--text", "-1:dog"), ("dog", "--text", " "), ("--not-image", "x")]
)
def test_a_query_that_wants_nothing_is_a_usage_error(hashcli: Run, album: Path, query: tuple[str, ...]) -> None:
    assert hashcli("search", *query, "--index", album / "ix", status=2).stdout == ""


def test_the_default_order_is_that_of_the_finer_score(hashcli: Run, album: Path, model: HashModel) -> None:
    (output,) = model.encode_texts(["a machine"])
    fine = names(hashcli("search", "a machine", "-k", 12, "--all", "--json", "--index", album / "ix"))
    assert fine == in_order(album, model, output)
    by_distance = json_rows(
        hashcli("search", "a machine", "-k", 12, "--rerank", 0, "--all", "--json", "--index", album / "ix")
    )
    distances = [row["distance"] for row in by_distance]
    assert distances == sorted(distances)
    assert sorted(Path(row["path"]).name for row in by_distance) == sorted(fine)


# --- cut-offs and filters ---


def test_no_answer_is_further_than_asked(hashcli: Run, album: Path) -> None:
    rows = json_rows(hashcli("search", "a cat", "-k", 12, "--all", "--json", "--index", album / "ix"))
    limit = sorted(row["distance"] for row in rows)[4]
    near = hashcli("search", "a cat", "-k", 12, "--json", "--max-distance", limit, "--index", album / "ix")
    assert names(near) == [Path(row["path"]).name for row in rows if row["distance"] <= limit]
    nearest = min(row["distance"] for row in rows)
    within = hashcli("search", "a cat", "-k", 12, "--json", "--within", limit - nearest, "--index", album / "ix")
    assert within.stdout == near.stdout
    # The limit on distance applies before the number of results: the one near photo is found, whatever its rank.
    one = json_rows(hashcli("search", "a cat", "-k", 1, "--json", "--max-distance", nearest, "--index", album / "ix"))
    assert [(row["rank"], row["distance"]) for row in one] == [(1, nearest)]
    none = hashcli("search", "a cat", "--max-distance", 0, "--index", album / "ix")
    assert f"differs in {nearest} of 256" in none.stderr
    assert none.stdout == ""
    assert "near enough" in none.stderr


def test_what_the_model_calls_no_match_is_not_shown_by_itself(hashcli: Run, album: Path, tmp_path: Path) -> None:
    """For words, photos must be as near as the model says that a fitting one is; --all shows the others too."""
    model = shutil.copytree(find_model("lite-256"), tmp_path / "model")
    hashcli("index", album / "first", "--index", "ix", "--model", model)
    rows = json_rows(hashcli("search", "a cat", "--all", "--json", "--index", "ix"))
    nearest, limit = sorted(row["distance"] for row in rows)[:2]
    description = json.loads((model / "model.json").read_text())

    def say_match(distance: int) -> None:
        match = {"distance": distance, "miss_rate": 0.05, "false_alarm_rate": 0.5, "photos": 1000}
        (model / "model.json").write_text(json.dumps(description | {"match": match}))

    say_match(limit)
    shown = json_rows(hashcli("search", "a cat", "--json", "--index", "ix"))
    assert [row["distance"] for row in shown] == [row["distance"] for row in rows if row["distance"] <= limit]
    say_match(nearest - 1)
    none = hashcli("search", "a cat", "--index", "ix")
    assert none.stdout == ""
    assert f"the nearest differs in {nearest} of 256 bits" in none.stderr
    assert "--all" in none.stderr
    assert len(json_rows(hashcli("search", "a cat", "--all", "--json", "--index", "ix"))) == 6
    # A limit that the user sets takes its place, and it does not apply to photos like another photo.
    assert len(json_rows(hashcli("search", "a cat", "--max-distance", 256, "--json", "--index", "ix"))) == 6
    photo = album / "first" / "rocket.jpg"
    assert len(json_rows(hashcli("search", "--image", photo, "--json", "--index", "ix"))) == 6


def test_only_photos_of_a_folder_a_type_or_a_time(hashcli: Run, album: Path) -> None:
    def found(*options: object) -> set[str]:
        return set(names(hashcli("search", "a cat", "-k", 99, "--all", "--json", *options, "--index", album / "ix")))

    everything = list(PHOTOS)
    assert found("--in", album / "first") == set(everything[:6])
    assert found("--in", album / "first", "--in", album / "second" / "moon.png") == {*everything[:6], "moon.png"}
    assert found("--type", "jpeg") == found("--type", ".JPG") == {"rocket.jpg", "hubble_deep_field.jpg"}
    assert found("--after", "2023-03", "--before", "2023-05-01") == set(everything[2:4])
    assert found("--after", "2023-12-01T12:00") == set()
    assert found("--before", "2024", "--after", "2023") == set(everything)
    assert found("--type", "jpg", "--in", album / "second") == {"hubble_deep_field.jpg"}


def test_photos_near_a_place(hashcli: Run, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name, place in (
        ("paris", ((48, 51, 24), "N", (2, 21, 8), "E")),
        ("sydney", ((33, 52, 8), "S", (151, 12, 33), "E")),
    ):
        with Image.open(SKIMAGE / "chelsea.png") as photo:
            photo.resize((60, 40)).save(tmp_path / "p" / f"{name}.jpg", exif=gps(*place))
    Image.open(SKIMAGE / "chelsea.png").save(tmp_path / "p" / "nowhere.png")
    hashcli("index", "p", "--index", "ix")

    def near(place: str) -> list[str]:
        return names(hashcli("search", "a cat", "--all", "--json", "--near", place, "--index", "ix"))

    assert near("48.86,2.35") == near("48.86,2.35,10km") == ["paris.jpg"]
    assert near("48.86,2.35,300m") == []
    assert near("-33.87,151.21,1km") == ["sydney.jpg"]
    rows = json_rows(hashcli("search", "a cat", "--all", "--json", "--index", "ix"))
    places = {Path(row["path"]).stem: (row.get("latitude"), row.get("longitude")) for row in rows}
    assert places["nowhere"] == (None, None)
    assert places["paris"] == pytest.approx((48.8566667, 2.3522222))
    assert "--near" in hashcli("search", "a cat", "--near", "1,2", "--index", "ix").stderr
    done = hashcli("search", "a cat", "--near", "Paris", "--index", "ix", status=2)
    assert "--near Paris is not a place" in done.stderr
    assert "--near 48.86,2.35,10km" in done.stderr


def test_filters_come_before_ranking(hashcli: Run, album: Path) -> None:
    """The one photo that passes is found, far as it may be."""
    found = hashcli("search", "a cat", "-k", 1, "--all", "--json", "--after", "2023-12", "--index", album / "ix")
    assert names(found) == [list(PHOTOS)[11]]


def test_a_filter_that_lets_nothing_pass_is_named(hashcli: Run, album: Path) -> None:
    done = hashcli("search", "a cat", "--type", "gif", "--index", album / "ix")
    assert done.stdout == ""
    assert "--type" in done.stderr


def test_what_is_no_day_is_a_usage_error(hashcli: Run, album: Path) -> None:
    assert "--after tomorrow" in hashcli("search", "a", "--after", "tomorrow", "--index", album / "ix", status=2).stderr


# --- photos from elsewhere ---


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_photo_from_the_web_or_stdin_is_like_one_on_disk(
    hashcli: Run, album: Path, environment: dict[str, str]
) -> None:
    photo = album / "first" / "rocket.jpg"
    on_disk = hashcli("search", "--image", photo, "--json", "--index", album / "ix").stdout
    with served(album / "first") as address:
        assert (
            hashcli("search", "--image", f"{address}/rocket.jpg", "--json", "--index", album / "ix").stdout == on_disk
        )
        gone = hashcli("search", "--image", f"{address}/gone.jpg", "--index", album / "ix", status=1)
    assert f"{address}/gone.jpg cannot be read: the server answered 404" in gone.stderr
    no_address = hashcli("search", "--image", "http://[", "--index", album / "ix", status=1)
    assert "http://[ cannot be read" in no_address.stderr
    unreachable = hashcli("search", "--image", f"{address}/rocket.jpg", "--index", album / "ix", status=1)
    assert "no connection" in unreachable.stderr
    assert "format" not in unreachable.stderr
    with photo.open("rb") as stdin:
        command = [sys.executable, "-m", "hashcli", "search", "--image", "-", "--json", "--index", str(album / "ix")]
        assert subprocess.run(command, stdin=stdin, env=environment, capture_output=True, text=True).stdout == on_disk
    empty = hashcli("search", "--image", "-", "--index", album / "ix", status=1)
    assert "The photo on stdin cannot be read" in empty.stderr


# --- many queries at once ---


def test_a_batch_answers_as_its_queries_do_alone(hashcli: Run, album: Path) -> None:
    asked = {
        1: ("a cat",),
        3: ("--text", "a clock", "--not", "grass"),
        4: ("--image", str(album / "first" / "coffee.png"), "--text", "2:money"),
    }
    lines = [
        "a cat",
        "",
        json.dumps({"text": "a clock", "not": "grass"}),
        json.dumps({"image": [str(album / "first" / "coffee.png")], "text": ["2:money"]}),
    ]
    rows = json_rows(
        hashcli("search", "--batch", "-", "-k", 5, "--json", "--index", album / "ix", stdin="\n".join(lines))
    )
    for number, query in asked.items():
        alone = json_rows(hashcli("search", *query, "-k", 5, "--json", "--index", album / "ix"))
        of_batch = [{key: row[key] for key in row if key != "query"} for row in rows if row["query"] == number]
        assert [row["path"] for row in of_batch] == [row["path"] for row in alone]
        assert [row["distance"] for row in of_batch] == pytest.approx([row["distance"] for row in alone], abs=1)
    assert {row["query"] for row in rows} == {*asked}


def test_rows_of_a_batch_begin_with_the_number_of_the_query(hashcli: Run, album: Path) -> None:
    done = hashcli("search", "--batch", "-", "-k", 2, "--index", album / "ix", stdin="a cat\na clock\n")
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [
        ["1", "1"],
        ["1", "2"],
        ["2", "1"],
        ["2", "2"],
    ]


def test_codes_that_were_encoded_before_are_a_batch(
    hashcli: Run, album: Path, tmp_path: Path, model: HashModel
) -> None:
    texts = ["a cat", "a clock", "the moon"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    hashcli("encode", "--texts-from", "texts.txt", "--out", "codes.npy")
    rows = json_rows(hashcli("search", "--batch", "codes.npy", "-k", 12, "--all", "--json", "--index", album / "ix"))
    queries = unpack(np.load(tmp_path / "codes.npy"))
    photos = {str(path): None for path in sorted(album.glob("*/*.*")) if path.parent.name != "ix"}
    codes = {path: unpack(pack(model.encode_pixels(model.load_pixels(path)[None])))[0] for path in photos}
    for number, query in enumerate(queries, start=1):
        of_query = [row for row in rows if row["query"] == number]
        assert [row["distance"] for row in of_query] == sorted(int((codes[path] != query).sum()) for path in photos)
        assert all(row["distance"] == (codes[row["path"]] != query).sum() for row in of_query)


def test_words_that_the_model_does_not_know_are_named(hashcli: Run, album: Path, tiny_model: Path) -> None:
    """tiny_model knows a, cat, dog and rocket."""
    hashcli("index", album, "--index", "tiny-ix", "--model", tiny_model)
    search = ("search", "--index", "tiny-ix", "--json", "--all")
    done = hashcli(*search, "xylophone quark")
    assert (done.stdout, done.stderr) == ("", "None of the words is known to tiny: xylophone, quark\n")
    done = hashcli(*search, "a cat with a quark", "--not", "xylophone")
    assert len(json_rows(done)) == 10
    assert done.stderr == "These words are not known to tiny: with, quark, xylophone\n"
    assert hashcli(*search, "a cat").stderr == ""
    done = hashcli(*search, "--batch", "-", "-k", 1, stdin="a quark\nxylophone quark\na cat\na quark and a dog\n")
    assert [row["query"] for row in json_rows(done)] == [1, 3, 4]
    assert done.stderr.splitlines() == [
        "query 1: These words are not known to tiny: quark",
        "query 2: None of the words is known to tiny: xylophone, quark",
        "query 4: These words are not known to tiny: and",
    ]


def test_a_photo_of_a_batch_that_cannot_be_read_is_skipped(hashcli: Run, album: Path) -> None:
    lines = json.dumps({"image": "gone.jpg"}) + "\na cat\n"
    done = hashcli("search", "--batch", "-", "-k", 1, "--json", "--index", album / "ix", stdin=lines, status=3)
    assert [row["query"] for row in json_rows(done)] == [2]
    assert "skipped query 1: gone.jpg cannot be read" in done.stderr


@pytest.mark.parametrize("line", ["{", '{"texts": "dog"}', '{"text": 3}', '{"not": "dog"}', "[]{"])
def test_a_line_that_is_no_query_is_named(hashcli: Run, album: Path, line: str) -> None:
    done = hashcli("search", "--batch", "-", "--index", album / "ix", stdin=f"a cat\n{line}\n", status=None)
    if line.startswith("{"):
        assert done.returncode == 2
        assert "stdin, line 2" in done.stderr
    else:
        assert done.returncode == 0  # words


def test_codes_of_another_length_are_refused(hashcli: Run, album: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros((2, 8), np.uint8))
    done = hashcli("search", "--batch", "short.npy", "--index", album / "ix", status=1)
    assert "short.npy holds uint8 [2, 8]" in done.stderr
    (tmp_path / "no.npy").write_text("no")
    assert "no.npy" in hashcli("search", "--batch", "no.npy", "--index", album / "ix", status=1).stderr
    hashcli("search", "dog", "--batch", "short.npy", "--index", album / "ix", status=2)


@pytest.mark.parametrize("arguments", [("--batch", ""), ("dog", "--in", "")])
def test_an_empty_path_is_neither_stdin_nor_the_working_folder(
    hashcli: Run, album: Path, arguments: tuple[str, ...]
) -> None:
    done = hashcli("search", *arguments, "--index", album / "ix", status=2, stdin="a cat\n")
    assert f"An empty path was given to {arguments[-2]}." in done.stderr
