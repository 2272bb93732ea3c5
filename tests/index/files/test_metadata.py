"""What photos say of themselves, from real files of several formats."""

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from hashcli.hashmodel.images import opened
from hashcli.index.files.metadata import Metadata, read_metadata
from tests.conftest import SKIMAGE

DESCRIPTION, COMMENT, TAKEN = 0x010E, 0x9286, 0x9003
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>no description</dc:title><dc:description><rdf:Alt>
<rdf:li xml:lang="x-default">a dog on a beach</rdf:li><rdf:li xml:lang="de">ein schöner Hund</rdf:li>
</rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def exif(description: str | bytes = "", comment: bytes = b"", taken: str = "") -> bytes:
    """EXIF data; texts as bytes are written as they are."""
    data = Image.Exif()
    if description:
        data[DESCRIPTION] = description
    if comment:
        data.get_ifd(0x8769)[COMMENT] = comment
    if taken:
        data.get_ifd(0x8769)[TAKEN] = taken
    return data.tobytes()


def read(path: Path) -> Metadata:
    with opened(path) as image:
        return read_metadata(image)


def save(path: Path, exif: bytes = b"", xmp: str = "") -> Path:
    more = {name: value for name, value in (("exif", exif), ("xmp", xmp.encode())) if value}
    Image.open(SKIMAGE / "rocket.jpg").resize((90, 60)).save(path, **more)  # type: ignore[arg-type]
    return path


def with_iptc(path: Path, captions: Sequence[bytes]) -> Path:
    """Put IPTC captions (2:120) into a JPEG, as photo managers do: in an APP13 segment of Photoshop's."""
    records = b"".join(b"\x1c\x02\x78" + struct.pack(">H", len(caption)) + caption for caption in captions)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records + bytes(len(records) % 2)
    segment = b"Photoshop 3.0\0" + resource
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:])
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
def test_exif_in_every_format(tmp_path: Path, suffix: str) -> None:
    data = exif("a dog on a beach", b"ASCII\0\0\0it was warm", "2021:07:04 12:30:00")
    metadata = read(save(tmp_path / f"photo.{suffix}", data))
    assert metadata == Metadata(1625401800, ["a dog on a beach", "it was warm"])


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_xmp_in_every_language(tmp_path: Path, suffix: str) -> None:
    assert read(save(tmp_path / f"photo.{suffix}", xmp=XMP)).descriptions == ["a dog on a beach", "ein schöner Hund"]


def test_iptc_captions_and_equal_texts_once(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", exif("a dog on a beach"), XMP)
    with_iptc(path, ["caf\u00e9 at night".encode("latin-1"), b"a dog  on a beach\r\n"])
    assert read(path).descriptions == ["a dog on a beach", "café at night", "ein schöner Hund"]


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        (b"ASCII\0\0\0two words\0\0rest", ["two words"]),
        (bytes(8) + "schöne Grüße".encode(), ["schöne Grüße"]),
        (bytes(8) + "schöne Grüße".encode("latin-1"), ["schöne Grüße"]),
        (b"UNICODE\0" + "schöne Grüße".encode("utf-16-be"), ["schöne Grüße"]),  # Pillow writes EXIF big-endian
        (b"UNICODE\0" + "schöne Grüße".encode("utf-16"), ["schöne Grüße"]),
        (b"UNICODE\0" + "in any order".encode("utf-16-le"), ["in any order"]),
        (b"UNICODE\0" + "海辺の犬".encode("utf-16-be"), ["海辺の犬"]),
        (bytes(8) + "海辺の犬".encode("shift-jis"), []),  # its bytes are control characters elsewhere
        (b"UNICODE\0\xd8", []),
        (b"ASCII", []),
        (b"ASCII\0\0\0bell \x07 rings", []),
    ],
)
def test_encodings_of_user_comments(tmp_path: Path, comment: bytes, said: list[str]) -> None:
    assert read(save(tmp_path / "photo.jpg", exif(comment=comment))).descriptions == said


def test_a_description_in_utf8(tmp_path: Path) -> None:
    """Pillow decodes it as Latin-1, and writes ASCII only: the bytes are put into the file."""
    path = save(tmp_path / "photo.jpg", exif("ein schxxner Hund"))
    path.write_bytes(path.read_bytes().replace(b"schxxner", "schöner".encode()))
    assert read(path).descriptions == ["ein schöner Hund"]


@pytest.mark.parametrize("text", ["Sunset", "MUM AT THE BEACH", "ROME 2019", "nora", "Samsung phone on a desk", "a 1"])
def test_descriptions_of_one_word_or_in_capitals(tmp_path: Path, text: str) -> None:
    assert read(save(tmp_path / "photo.jpg", exif(text))).descriptions == [text]


@pytest.mark.parametrize(
    "text",
    [
        "OLYMPUS DIGITAL CAMERA",
        "KONICA MINOLTA DIGITAL CAMERA",
        "DIGITAL CAMERA",
        "KODAK Digital Still Camera",
        "Digital image",
        "SONY DSC",
        "SAMSUNG",
        "SAMSUNG CAMERA PICTURES",
        "MINOLTA DIMAGE",
        "dav",
        "hdr",
        "cof_vivid",
        "sdr_HDRB",
        "oznorHDRB",
        "mde",
        "DCIM\\100MEDIA\\DJI_0001.JPG",
        "IMG_1234",
        "IMG_20200704_123000.jpg",
        "DSC01234",
        "P1010001",
        "image0001",
        "holiday.jpeg",
        "Screenshot",
        "d41d8cd9-8f00-3204-a980-0998ecf8427e",
        "aGVsbG8gd29ybGQgMTIzNA==",
        "Exif_JPEG_PICTURE",
        "Created with GIMP",
        "Processed with VSCO with f2 preset",
        '{"sensor": "of a phone", "beauty": 1}',
        "charset=Ascii of some kind",
        "<x:note by='a program'> here",
        "42",
    ],
)
def test_what_programs_write_is_no_description(tmp_path: Path, text: str) -> None:
    assert read(save(tmp_path / "photo.jpg", exif(text))).descriptions == []


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "2021:07:04"])
def test_dates_that_are_none(tmp_path: Path, taken: str) -> None:
    assert read(save(tmp_path / "photo.jpg", exif("two words", taken=taken))) == Metadata(None, ["two words"])


def test_a_photo_that_says_nothing(tmp_path: Path) -> None:
    assert read(save(tmp_path / "photo.jpg")) == Metadata(None, [])
    assert read(save(tmp_path / "photo.png")) == Metadata(None, [])


def test_damaged_metadata_costs_nothing_but_itself(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa">]><d xmlns:dc="http://purl.org/dc/elements/1.1/">'
    bomb += "<dc:description>&a; two words</dc:description></d>"
    path = save(tmp_path / "photo.jpg", exif("two words", taken="2021:07:04 12:30:00"), bomb)
    with_iptc(path, [b"three more words"])
    assert read(path) == Metadata(1625401800, ["two words", "three more words"])
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"Exif\0\0") + 6
    damaged[place : place + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    assert read(path) == Metadata(None, ["three more words"])
