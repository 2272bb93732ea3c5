"""The contact sheet as a file: one page that needs nothing else, whatever the photos are called."""

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from PIL import Image

from hashcli.errors import HashcliError
from hashcli.index.results import SearchResult
from hashcli.show.contact_sheet import QueryResults, write
from tests.conftest import PHOTOS, SKIMAGE


def photo(rank: int, path: object, **more: object) -> SearchResult:
    return SearchResult(rank, "image", str(path), 60 + rank, 256, **more)  # type: ignore[arg-type]


def text(rank: int, words: str, path: object = "/data/captions.txt", **more: object) -> SearchResult:
    return SearchResult(rank, "text", str(path), 60 + rank, 256, text=words, **more)  # type: ignore[arg-type]


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and the text in each tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_bytes().decode()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def all(self, tag: str, **attributes: str) -> Iterator[dict[str, str]]:
        for name, found in self.elements:
            if name == tag and attributes.items() <= found.items():
                yield found

    @property
    def cards(self) -> list[dict[str, str]]:
        return [found for _, found in self.elements if found.get("class") == "open"]

    @property
    def images(self) -> list[Image.Image]:
        uris = [found["src"] for found in self.all("img")]
        assert all(uri.startswith("data:image/webp;base64,") for uri in uris)
        return [Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in uris]


def sheet(tmp_path: Path, *searches: QueryResults, title: str = "a title") -> Page:
    write(tmp_path / "out.html", title, searches)
    return Page(tmp_path / "out.html")


def test_every_answer_has_its_photo_rank_distance_and_link(tmp_path: Path) -> None:
    names = list(PHOTOS)
    results = [photo(rank, SKIMAGE / name, taken=86_400 * rank, copies=rank // 2) for rank, name in enumerate(names, 1)]
    page = sheet(tmp_path, QueryResults("a cat", results))
    assert [found["data-path"] for found in page.cards] == [str(SKIMAGE / name) for name in names]
    assert [found["data-facts"] for found in page.cards[:2]] == [
        "Result 1 of 12 · 61 of 256 bits differ · taken 1970-01-02",
        "Result 2 of 12 · 62 of 256 bits differ · taken 1970-01-03 · 1 identical copy",
    ]
    for name, thumbnail, found in zip(names, page.images, page.all("img"), strict=True):
        with Image.open(SKIMAGE / name) as original:
            assert thumbnail.width / thumbnail.height == pytest.approx(original.width / original.height, rel=0.02)
            assert max(thumbnail.size) == min(640, max(original.size))
        assert thumbnail.size == (int(found["width"]), int(found["height"]))
        assert found["alt"] == name


def test_nothing_is_outside_the_file_and_the_policy_allows_nothing_else(tmp_path: Path) -> None:
    page = sheet(tmp_path, QueryResults("a cat", [photo(1, SKIMAGE / "chelsea.png")]))
    policy = next(page.all("meta", **{"http-equiv": "Content-Security-Policy"}))["content"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = page.texts[tag]
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
        assert not re.search(r"https?:|url\(|@import", content)
    named = {value for _, found in page.elements for name, value in found.items() if name in ("src", "href")}
    assert {urlsplit(value).scheme for value in named} <= {"data", "file", ""}
    assert not any("style" in found or any(name.startswith("on") for name in found) for _, found in page.elements)


NAMES = [
    b"<script>window.ran=1</script>.png",
    b'"><img src=x onerror=window.ran=1>.png',
    b"two\nlines & 'quotes' %41 #1?.png",
    b"caf\xe9.png",
    "été 写真.png".encode(),
    "left\u202eright.png".encode(),
]


@pytest.mark.skipif(sys.platform != "linux", reason="names that other systems do not allow")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_shown_as_text_and_linked_byte_by_byte(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name.replace(b"/", b"")
    os.symlink(os.fsencode(SKIMAGE / "chelsea.png"), path)
    page = sheet(tmp_path, QueryResults(os.fsdecode(name), [photo(1, os.fsdecode(path))]), title=os.fsdecode(name))
    assert len(list(page.all("script"))) == 1
    assert len(list(page.all("img"))) == len(page.cards) == 1
    (link,) = (found["href"] for found in page.all("a") if "title" in found)
    assert unquote_to_bytes(urlsplit(link).path) == path
    copied = page.cards[0]["data-path"]
    assert os.fsencode(copied) == path or copied == link
    assert "\n" not in page.cards[0]["data-shown"]
    assert "\u202e" not in page.source.replace(copied, "")


def test_photos_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    with Image.open(SKIMAGE / "chelsea.png") as original:
        original.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    (thumbnail,) = sheet(tmp_path, QueryResults("a cat", [photo(1, tmp_path / "turned.jpg")])).images
    assert thumbnail.size == (300, 451)


def test_what_cannot_be_shown_is_reported_and_has_a_placeholder(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    results = [photo(1, tmp_path / "bad.jpg"), photo(2, tmp_path / "gone.jpg"), photo(3, SKIMAGE / "coffee.png")]
    unshown = write(tmp_path / "out.html", "coffee", [QueryResults("coffee", results)])
    assert unshown == [
        (str(tmp_path / "bad.jpg"), "not an image that can be read"),
        (str(tmp_path / "gone.jpg"), "no such file or directory"),
    ]
    page = Page(tmp_path / "out.html")
    assert page.texts["span"][::2][:2] == ["Cannot be shown", "No longer there"]
    assert len(page.cards) == 3
    assert len(page.images) == 1


def test_texts_stand_beside_their_photos_or_alone_and_queries_show_theirs(tmp_path: Path) -> None:
    about = str(SKIMAGE / "chelsea.png")
    found = [text(1, "a <b>cat</b>", about, photo=about), text(2, "a dog", line=7)]
    page = sheet(tmp_path, QueryResults("cat.jpg", found, photos=[str(SKIMAGE / "coffee.png")]))
    assert page.texts["q"] == ["a <b>cat</b>", "a dog"]
    assert [max(image.size) for image in page.images] == [160, 451]
    assert "captions.txt:7" in page.texts["a"]


def test_queries_are_linked_from_the_top_and_one_without_answers_says_so(tmp_path: Path) -> None:
    page = sheet(
        tmp_path, QueryResults("a cat", [photo(1, SKIMAGE / "chelsea.png")]), QueryResults("a unicorn", []), title="Two"
    )
    assert page.texts["h1"] == ["Two"]
    assert page.texts["h2"][:2] == ["a cat", "a unicorn"]
    ids = [found["id"] for found in page.all("section")]
    links = [found.get("href", "") for found in page.all("a")]
    assert [link for link in links if link.startswith("#")] == [f"#{id_}" for id_ in ids]
    assert "Nothing was found." in page.texts["p"]


def test_twenty_photos_make_a_file_to_be_sent_and_many_are_smaller(tmp_path: Path) -> None:
    names = [name for name in PHOTOS if max(Image.open(SKIMAGE / name).size) >= 400]
    twenty = [photo(rank, SKIMAGE / names[rank % len(names)]) for rank in range(1, 21)]
    sheet(tmp_path, QueryResults("photos", twenty))
    assert (tmp_path / "out.html").stat().st_size < 1.5e6
    with Image.open(SKIMAGE / "chelsea.png") as original:
        original.resize((300, 200)).save(tmp_path / "small.png")
    many = [photo(rank, tmp_path / "small.png") for rank in range(1, 202)]
    assert {image.size for image in sheet(tmp_path, QueryResults("photos", many)).images} == {(256, 171)}


def test_a_sheet_is_replaced_only_by_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = QueryResults("a cat", [photo(1, SKIMAGE / "chelsea.png")])
    sheet(tmp_path, search)
    before = (tmp_path / "out.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hashcli.show.contact_sheet._thumbnail", lambda *_: None)
    monkeypatch.setattr("hashcli.show.contact_sheet._card", full)
    with pytest.raises(HashcliError, match=re.escape(f"{tmp_path / 'out.html'} cannot be written: no space left")):
        write(tmp_path / "out.html", "again", [search])
    assert (tmp_path / "out.html").read_bytes() == before
    assert os.listdir(tmp_path) == ["out.html"]
    with pytest.raises(HashcliError, match="no such file or directory"):
        write(tmp_path / "none" / "out.html", "again", [search])


OPEN = """
from pathlib import Path
from hashcli.show.contact_sheet import open_file
open_file(Path("a b.html"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a browser")
def test_the_page_opens_in_the_browser_or_the_message_says_there_is_none(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked\n')
    browser.chmod(0o755)

    def open_with(**environment: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
        command = [sys.executable, "-c", OPEN]
        return subprocess.run(command, cwd=tmp_path, env=kept | environment, capture_output=True, text=True)

    assert open_with(BROWSER=str(browser)).returncode == 0
    assert (tmp_path / "asked").read_text().strip() == (tmp_path / "a b.html").as_uri()
    assert "No browser was found to show a b.html." in open_with(PATH=str(tmp_path)).stderr


def test_photos_and_texts_of_one_rank_have_ids_of_their_own(tmp_path: Path) -> None:
    text = SearchResult(1, "text", str(tmp_path / "notes.txt"), 60, 256, text="a cup", line=1)
    write(tmp_path / "page.html", "cup", [QueryResults("cup", [photo(1, SKIMAGE / "coffee.png"), text])])
    ids = re.findall(r' id="(a[^"]*)"', (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)) == 2


def test_photos_and_texts_of_one_query_stand_under_headings(tmp_path: Path) -> None:
    photos = [photo(rank, SKIMAGE / name) for rank, name in enumerate(("chelsea.png", "coffee.png"), 1)]
    mixed = QueryResults("a cat", [*photos, text(1, "a cat")])
    page = sheet(tmp_path, mixed)
    ranks = [found["data-facts"].partition(" · ")[0] for found in page.cards]
    assert ranks == ["Result 1 of 2", "Result 2 of 2", "Result 1 of 1"]
    assert page.texts["h3"] == ["Photos", "Texts"]
    assert [found["class"] for found in page.all("ol") if "class" in found] == ["cards", "cards texts"]
    assert "h3" not in sheet(tmp_path, QueryResults("a cat", photos)).texts


def test_cards_say_the_folder_and_the_page_explains_the_order(tmp_path: Path) -> None:
    page = sheet(tmp_path, QueryResults("a cat", [photo(1, "/data/2023/trip/chelsea.png")]))
    assert ">2023/trip</p>" in page.source
    assert "distances need not rise" in page.source


def test_a_photo_that_is_small_itself_is_marked_so_as_not_to_be_enlarged(tmp_path: Path) -> None:
    for width, is_marked in ((100, True), (1000, False)):
        Image.new("RGB", (width, 80)).save(tmp_path / "photo.png")
        page = sheet(tmp_path, QueryResults("a", [photo(1, tmp_path / "photo.png")]))
        assert ["data-whole" in found for found in page.all("img")] == [is_marked]
