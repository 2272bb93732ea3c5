"""What the server answers: the terminal's rows, items by their ids, and always of the index that is there now."""

import errno
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image
from starlette.testclient import TestClient

import hashcli as library
from hashcli.index.catalog import Catalog
from hashcli.index.results import SearchResults
from hashcli.index.search import Index, ModelReplacedError
from hashcli.serve import originals
from tests.conftest import SKIMAGE, Run, json_rows
from tests.index.indexing import described, make_album
from tests.serve.conftest import HERE


def rows(client: TestClient, parameters: str, path: str = "/api/search") -> list[dict[str, Any]]:
    answer = client.get(f"{path}?{parameters}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def named(found: list[dict[str, Any]]) -> list[str]:
    return [Path(row["path"]).name for row in found]


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        ("text=a+cat&k=5", ["a cat", "-k", 5]),
        ("text=a+cat&all=true&k=12&not=coffee", ["--text", "a cat", "--all", "-k", 12, "--not", "coffee"]),
        ("text=a+cat&text=coffee&all=1", ["--text", "a cat", "--text", "coffee", "--all"]),
        ("text=coins&words_only=true", ["coins", "--words-only"]),
        ("text=coins&no_words=true&all=true", ["coins", "--no-words", "--all"]),
        ("text=moon&type=png&type=jpg&all=true&max_distance=120", ["moon", "--max-distance", 120]),
        ("text=moon&type=jpg&all=true", ["moon", "--type", "jpg", "--all"]),
        ("text=moon&within=20&rerank=0", ["moon", "--within", 20, "--rerank", 0]),
        ("text=moon&after=2026&all=true&sort=date", ["moon", "--after", "2026", "--all", "--sort", "date"]),
        ("text=moon&before=2001&all=true", ["moon", "--before", "2001", "--all"]),
        ("text=moon&near=48,2&all=true", ["moon", "--near", "48,2", "--all"]),
        ("text=a+cat&for=texts&all_copies=true", ["a cat", "--for", "texts", "--all-copies"]),
        ("text=a+cat&for=both&k=3", ["a cat", "--for", "both", "-k", 3]),
    ],
)
def test_the_rows_are_those_of_the_terminal(
    client: TestClient, hashcli: Run, shared_album: Path, parameters: str, arguments: list[object]
) -> None:
    if "max_distance" in parameters:
        parameters = parameters.replace("&all=true", "")
    found = rows(client, parameters)
    assert all(row.pop("id") for row in found)
    if "type=png" in parameters:
        arguments = [*arguments, "--type", "png", "--type", "jpg"]
    assert found == json_rows(hashcli("search", *arguments, "--json", "--index", shared_album))


def test_a_folder_limits_the_answers(client: TestClient, shared_album: Path) -> None:
    found = rows(client, f"text=a+photo&all=true&in={shared_album.parent / 'trip'}")
    assert sorted(named(found)) == ["moon.png", "rocket.jpg"]


def test_similar_is_a_search_by_the_photo(client: TestClient, hashcli: Run, shared_album: Path) -> None:
    (cat,) = rows(client, "text=a+cat&k=1")
    found = rows(client, "k=4", f"/api/similar/{cat['id']}")
    assert [row.pop("id") for row in found].index(cat["id"]) == 0
    expected = hashcli("search", "--image", cat["path"], "-k", 4, "--json", "--index", shared_album)
    assert found == json_rows(expected)
    (caption,) = rows(client, "k=1&for=texts", f"/api/similar/{cat['id']}")
    assert caption["kind"] == "text"
    assert named(rows(client, "k=1", f"/api/similar/{caption['id']}")) == [Path(caption["photo"]).name]


def test_a_part_of_the_answers_and_how_many_there_are(client: TestClient) -> None:
    whole = client.get("/api/search?text=a+cat&all=true&k=12&facets=true").json()
    part = client.get("/api/search?text=a+cat&all=true&k=12&offset=4&count=3").json()
    assert part["results"] == whole["results"][4:7]
    assert (whole["total"], part["total"]) == (12, 12)
    assert whole["facets"]["types"] == {"png": 10, "jpg": 2}
    assert sorted(whole["facets"]["folders"].values()) == [2, 12]
    assert sum(whole["facets"]["years"].values()) == 12
    none = client.get("/api/search?text=a+cat&max_distance=1&no_words=1").json()
    assert (none["results"], none["why_none"]) == ([], "too_far")
    assert none["nearest_distance"] == whole["nearest_distance"] > 1


def test_each_count_is_what_a_filter_by_it_leaves(changing: TestClient, album: Path) -> None:
    shutil.copy(SKIMAGE / "rocket.jpg", album.parent / "trip" / "other.jpeg")
    described(album.parent / "old.jpg", "a cat of long ago", taken="1999:05:06 07:08:09")
    with library.open_index(album) as index:
        index.update()
    filters = {"folders": "in={}", "types": "type={}", "years": "after={0}&before={0}-12-31T23:59"}
    for kind in ("photos", "texts"):
        asked = f"text=a+cat&for={kind}&all=1&k=20&all_copies=1"
        for name, counts in changing.get(f"/api/search?{asked}&facets=1").json()["facets"].items():
            assert bool(counts) is ((kind, name) != ("texts", "years"))
            for value, count in counts.items():
                left = changing.get(f"/api/search?{asked}&{filters[name].format(value)}").json()["total"]
                assert (kind, name, value, left) == (kind, name, value, count)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("", "nothing to look for"),
        ("text=a&tetx=b", "Did you mean text?"),
        ("text=a&k=0", "k must be at least 1"),
        ("text=a&k=1000000", "at most 10000"),
        ("text=a&k=x", "k must be a whole number"),
        ("text=a&all=perhaps", "true or false"),
        ("text=a&sort=size", "rank, date"),
        ("text=a&after=yesterday", "is not a day"),
        ("text=a&near=here", "near"),
        ("text=a&words_only=1&no_words=1", "exclude"),
        ("text=" + "a" * 3000, "longer than"),
        ("text=a" + "&text=dog" * 1000, "longer than"),
        ("text=a&rerank=10001", "at most 10000"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(client: TestClient, parameters: str, said: str) -> None:
    answer = client.get(f"/api/search?{parameters}")
    assert answer.status_code == 400
    assert said in answer.json()["error"] + answer.json()["remedy"]


def test_a_photo_is_uploaded_and_searched_by_alone_and_with_words(
    client: TestClient, hashcli: Run, shared_album: Path
) -> None:
    id_ = client.post("/api/upload", content=(SKIMAGE / "chelsea.png").read_bytes()).json()["id"]
    assert named(rows(client, f"image={id_}&k=1")) == ["chelsea.png"]
    assert named(rows(client, f"image={id_}&text=coffee&all=1&k=2")) == ["coffee.png", "chelsea.png"]
    without = rows(client, f"text=a+cat&not_image={id_}&no_words=1&all=1")
    assert all(row.pop("id") for row in without)
    photo = "--not-image", SKIMAGE / "chelsea.png"
    expected = hashcli("search", "a cat", *photo, "--no-words", "--all", "--json", "--index", shared_album)
    assert without == json_rows(expected)
    thumbnail = client.get(f"/api/thumbnail/{id_}")
    assert Image.open(io.BytesIO(thumbnail.content)).format == "WEBP"


def test_what_is_no_photo_or_too_large_is_not_taken(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = client.post("/api/upload", content=b"<script>alert(1)</script>")
    assert (answer.status_code, "cannot be read" in answer.json()["error"]) == (400, True)
    monkeypatch.setattr("hashcli.serve.app.MOST_UPLOADED", 1000)
    assert client.post("/api/upload", content=b"x" * 1001).status_code == 413
    assert client.post("/api/upload", content=(b"x" * 600 for _ in range(2))).status_code == 413  # of no stated length
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    monkeypatch.setattr("hashcli.serve.app.MOST_UPLOADED", 1 << 20)
    answer = client.post("/api/upload", content=huge.getvalue())
    assert (answer.status_code, "megapixels" in answer.json()["error"]) == (400, True)


def test_thumbnails_are_made_once_upright_and_may_be_kept(client: TestClient, tmp_path: Path) -> None:
    (rocket,) = rows(client, "text=a+rocket+launch&k=1")
    answer = client.get(f"/api/thumbnail/{rocket['id']}?side=320")
    assert answer.headers["content-type"] == "image/webp"
    assert "max-age" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(answer.content)).size == (48, 32)
    (kept,) = (tmp_path / "thumbnails").iterdir()
    kept.write_bytes(b"kept")
    assert client.get(f"/api/thumbnail/{rocket['id']}?side=320").content == b"kept"
    again = client.get(f"/api/thumbnail/{rocket['id']}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/api/thumbnail/{rocket['id']}?side=5000").status_code == 400


def test_an_original_is_sent_as_what_it_is(changing: TestClient, album: Path) -> None:
    (cat,) = rows(changing, "text=a+cat&k=1")
    answer = changing.get(f"/api/photo/{cat['id']}")
    assert answer.content == Path(cat["path"]).read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''chelsea.png"
    assert "attachment" in changing.get(f"/api/photo/{cat['id']}?download").headers["content-disposition"]
    Image.new("RGB", (8, 8)).save(cat["path"], "GIF")
    assert changing.get(f"/api/photo/{cat['id']}").headers["content-type"] == "image/gif"
    Path(cat["path"]).write_text("<html><script>alert(1)</script>")
    assert changing.get(f"/api/photo/{cat['id']}").status_code == 415
    assert changing.get(f"/api/thumbnail/{cat['id']}").status_code == 415
    Path(cat["path"]).unlink()
    for what in ("photo", "thumbnail"):
        assert changing.get(f"/api/{what}/{cat['id']}").status_code == 404
    assert rows(changing, "text=a+kitten&k=1&words_only=0&all=1")[0]["missing"] is True


def test_a_selection_is_a_zip_of_those_that_are_there(changing: TestClient, album: Path) -> None:
    shutil.copy(album.parent / "chelsea.png", album.parent / "trip" / "Chelsea.png")
    with library.open_index(album) as index:
        index.update()
    found = rows(changing, "text=a+cat&all_copies=1&k=3")
    Path(found[2]["path"]).unlink()
    os.utime(album.parent / "chelsea.png", (0, datetime(2014, 5, 6, 7, 8, 10).timestamp()))
    os.utime(album.parent / "trip" / "Chelsea.png", (0, -1e9))  # before the first year that a zip can hold
    answer = changing.post("/api/zip", data={"id": [row["id"] for row in found]})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len({name.casefold() for name in names}) == 2
        assert archive.read(names[0]) == (album.parent / "chelsea.png").read_bytes()
        dates = {entry.date_time for entry in archive.infolist()}
        assert dates == {(2014, 5, 6, 7, 8, 10), (1980, 1, 1, 0, 0, 0)}
    with library.open_index(album) as index:
        index.update()  # which then does not hold the photo any more
    answer = changing.post("/api/zip", data={"id": [row["id"] for row in found]})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == names
    assert changing.post("/api/zip", data={"id": [found[2]["id"]]}).status_code == 404
    assert changing.post("/api/zip", data={}).status_code == 400
    for number in (1001, 5000):
        answer = changing.post("/api/zip", data={"id": ["0-1-000000000000"] * number})
        assert (answer.status_code, answer.json()["error"]) == (400, "A zip holds 1 to 1000 photos.")


def test_a_photo_that_cannot_be_read_to_its_end_breaks_the_zip(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(file: BinaryIO) -> Iterator[bytes]:
        with file:
            yield file.read(100)
            raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(originals, "blocks_of", failing)
    with pytest.raises(OSError, match="input/output error"):
        list(originals.zip_of([str(album.parent / "coins.png")]))


@pytest.mark.parametrize(
    "id_",
    [
        *("0-999999-000000000000", "7-1-000000000000", "x", "0-1", "0-1-%00", "0-upload-000000000000000000000000"),
        *("%2e%2e%2f%2e%2e%2fetc%2fpasswd", "0-1-../../secret", "0-99999999999999999999-000000000000", "٣-1-x"),
    ],
)
def test_ids_of_nothing_are_not_found(client: TestClient, id_: str) -> None:
    for place in ("photo", "thumbnail", "similar"):
        assert client.get(f"/api/{place}/{id_}").status_code == 404
    assert client.get("/api/search", params={"image": id_}).status_code == 404
    assert client.post("/api/zip", data={"id": [id_]}).status_code == 404


@pytest.mark.parametrize(
    "path", ["/..%2f..%2fetc/passwd", "/page.html", "/app.py", "//etc/passwd", "/api/photo//etc/passwd"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_text_shows_no_photo_that_is_not_indexed(changing: TestClient, album: Path, tmp_path: Path) -> None:
    """A list of captions can name any file."""
    shutil.copy(SKIMAGE / "moon.png", tmp_path / "secret.png")
    captions = album.parent / "captions.csv"
    captions.write_text("image,text\n../secret.png,a secret photo\n")
    with library.open_index(album) as index:
        index.update([captions])
    (row,) = rows(changing, "text=a+secret+photo&for=texts&k=1")
    assert row["text"] == "a secret photo"
    for place in (f"photo/{row['id']}", f"thumbnail/{row['id']}"):
        assert changing.get(f"/api/{place}").status_code == 404
    assert changing.post("/api/zip", data={"id": row["id"]}, headers={"Origin": HERE}).status_code == 404


def test_whether_photos_of_texts_are_indexed_is_found_out_for_all_that_were_sent(
    changing: TestClient, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed_photos, asked = Catalog.indexed_photos, []

    def noted(catalog: Catalog, paths: set[str]) -> set[str]:
        asked.append(len(paths))
        return indexed_photos(catalog, paths)

    monkeypatch.setattr(Catalog, "indexed_photos", noted)
    for expected in ([12], [12, 12]):
        texts = rows(changing, "text=a+cat&for=texts&k=12")
        assert [changing.get(f"/api/thumbnail/{row['id']}").status_code for row in texts] == [200] * 12
        assert asked == expected
        with library.open_index(album) as index:
            index.update(rehash=True)


def test_a_photo_that_was_replaced_is_searched_by_as_it_is_now(changing: TestClient, album: Path) -> None:
    (cat,) = rows(changing, "text=a+cat&k=1")
    rows(changing, "k=1", f"/api/similar/{cat['id']}")
    shutil.copy(SKIMAGE / "rocket.jpg", cat["path"])
    with library.open_index(album) as index:
        index.update()
    first = rows(changing, "k=2&all_copies=true", f"/api/similar/{cat['id']}")
    assert cat["path"] in [row["path"] for row in first]
    (text,) = rows(changing, "text=a+cat&k=1&for=texts")
    found = rows(changing, "k=2&all_copies=true", f"/api/similar/{text['id']}")
    assert sorted(named(found)) == ["chelsea.png", "rocket.jpg"]
    shutil.copy(SKIMAGE / "coffee.png", cat["path"])
    with library.open_index(album) as index:
        index.update()
    found = rows(changing, "k=2&all_copies=true", f"/api/similar/{text['id']}")
    assert sorted(named(found)) == ["chelsea.png", "coffee.png"]


def test_a_photo_is_searched_by_as_the_model_of_now_reads_it(
    changing: TestClient, album: Path, tiny_model: Path, hashcli: Run
) -> None:
    (cat,) = rows(changing, "text=a+cat&k=1")
    rows(changing, "k=1", f"/api/similar/{cat['id']}")
    with library.open_index(album) as index:
        index.update(model=tiny_model, rehash=True)
    found = rows(changing, "k=12", f"/api/similar/{cat['id']}")
    assert all(row.pop("id") for row in found)
    assert found == json_rows(hashcli("search", "--image", cat["path"], "-k", 12, "--json", "--index", album))


def test_the_next_answer_is_of_a_refreshed_index(changing: TestClient, album: Path) -> None:
    before = rows(changing, "text=a+cat&all=1&k=20")
    shutil.copy(SKIMAGE / "coffee.png", album.parent / "new.png")
    (album.parent / "chelsea.png").unlink()
    with library.open_index(album) as index:
        index.update()
    after = rows(changing, "text=a+cat&all=1&k=20")
    assert set(named(after)) ^ set(named(before)) == {"new.png", "chelsea.png"}
    gone = next(row["id"] for row in before if row["path"].endswith("chelsea.png"))
    assert changing.get(f"/api/thumbnail/{gone}").status_code == 404
    kept = next(row["id"] for row in before if row["path"].endswith("coins.png"))
    assert changing.get(f"/api/thumbnail/{kept}").status_code == 200


def test_the_next_answer_is_of_an_index_that_took_its_place(changing: TestClient, album: Path, tmp_path: Path) -> None:
    before = rows(changing, "text=a+cat&all=1&k=20")
    make_album(tmp_path / "other")
    (tmp_path / "other" / "chelsea.png").unlink()
    with library.open_index(tmp_path / "other" / ".hashcli", create=True) as index:
        index.update([tmp_path / "other"])
    shutil.rmtree(album)
    answer = changing.get("/api/search?text=a+cat")
    assert (answer.status_code, "no index" in answer.json()["error"].lower()) == (503, True)
    assert "no index" in changing.get("/api/info").json()["indexes"][0]["error"].lower()
    shutil.copytree(tmp_path / "other" / ".hashcli", album)
    after = rows(changing, "text=a+cat&all=1&k=20")
    assert set(named(before)) - set(named(after)) == {"chelsea.png"}
    for row in before:
        status = changing.get(f"/api/thumbnail/{row['id']}").status_code
        assert status == (200 if row["id"] in {new["id"] for new in after} else 404)


def test_a_search_within_which_the_index_gets_another_model_is_run_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, calls = Index.search, []

    def replaced_once(index: Index, *arguments: Any, **options: Any) -> SearchResults:
        calls.append(arguments)
        if len(calls) == 1:
            raise ModelReplacedError("The index has just been given another hash model.")
        return search(index, *arguments, **options)

    monkeypatch.setattr(Index, "search", replaced_once)
    assert named(rows(client, "text=a+cat&k=1")) == ["chelsea.png"]


def test_several_indexes_are_searched_by_their_names(shared_album: Path, tmp_path: Path) -> None:
    from hashcli.serve.app import ServerOptions, create_app

    photo = tmp_path / "only" / "coffee.png"
    photo.parent.mkdir()
    shutil.copy(SKIMAGE / "coffee.png", photo)
    with library.open_index(tmp_path / "ix", create=True) as index:
        index.update([photo])
    options = ServerOptions({"album": shared_album, "only": tmp_path / "ix"})
    with TestClient(create_app(options), base_url="http://localhost:1") as client:
        assert [one["name"] for one in client.get("/api/info").json()["indexes"]] == ["album", "only"]
        (coffee,) = rows(client, "text=a+cat&all=1&index=only")
        assert coffee["path"] == str(photo)
        assert client.get(f"/api/photo/{coffee['id']}").status_code == 200
        assert client.get("/api/search?text=a&index=other").status_code == 404


def test_openapi_describes_every_route_and_parameter(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    routes = {path for route in client.app.routes if (path := route.path).startswith("/api/")}  # type: ignore[attr-defined]
    assert set(document["paths"]) == routes
    parameters = {one["name"] for one in document["paths"]["/api/search"]["get"]["parameters"]}
    for name in parameters - {"image", "not_image", "index"}:
        assert client.get(f"/api/search?text=a&{name}=2020").status_code in (200, 400)
        assert "no parameter" not in client.get(f"/api/search?text=a&{name}=2020").text
    (cat,) = rows(client, "text=a+cat&k=1")
    similar = {one["name"] for one in document["paths"]["/api/similar/{id}"]["get"]["parameters"]}
    assert parameters - similar == {"index"}
    assert client.get(f"/api/similar/{cat['id']}?index=album").status_code == 400
    assert "download" in {one["name"] for one in document["paths"]["/api/photo/{id}"]["get"]["parameters"]}
    described = document["components"]["schemas"]["Result"]["properties"]
    for row in rows(client, "text=a+cat&for=both"):
        assert set(row) <= set(described)
