"""What photos say of themselves, from real files of several formats."""

import json
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from hashcli.hashmodel.images import opened
from hashcli.index.files.dates import date_label, from_utc
from hashcli.index.files.metadata import Metadata, read_metadata
from hashcli.index.files.text_files import shortened
from hashcli.printable import local_time
from tests.conftest import SKIMAGE

NOTHING = Metadata(None, [])
SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "core": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg": "http://www.metadataworkinggroup.com/schemas/regions/",
    "mp": "http://ns.microsoft.com/photo/1.2/",
    "mpri": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "mpreg": "http://ns.microsoft.com/photo/1.2/t/Region#",
}
DESCRIPTION, COMMENT, TAKEN = 0x010E, 0x9286, 0x9003
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>on the beach</dc:title><dc:description><rdf:Alt>
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


def read(path: Path, *beside: Path) -> Metadata:
    with opened(path) as image:
        return read_metadata(image, str(path), [str(file) for file in beside])


def said(path: Path, *beside: Path) -> list[str]:
    return read(path, *beside).descriptions


def dated(path: Path, *beside: Path) -> tuple[str, str] | None:
    """The date of a photo, and where it is from."""
    metadata = read(path, *beside)
    return None if metadata.taken is None else (local_time(metadata.taken), str(date_label(metadata.taken_from)))


def save(path: Path, exif: bytes = b"", xmp: str = "") -> Path:
    more = {name: value for name, value in (("exif", exif), ("xmp", xmp.encode())) if value}
    small().save(path, **more)  # type: ignore[arg-type]
    return path


def small() -> Image.Image:
    photo = Image.open(SKIMAGE / "rocket.jpg").resize((90, 60))
    photo.info.clear()  # of a comment by JPEGmini
    return photo


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def xmp(properties: str, attributes: str = "") -> str:
    """XMP with these properties of a photo, as elements and as attributes."""
    spaces = " ".join(f"xmlns:{prefix}='{uri}'" for prefix, uri in SPACES.items())
    return (
        f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF {spaces}><rdf:Description rdf:about='' {attributes}>"
        f"{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def bag(*items: str) -> str:
    return f"<rdf:Bag>{''.join(f'<rdf:li>{item}</rdf:li>' for item in items)}</rdf:Bag>"


def alt(text: str) -> str:
    return f"<rdf:Alt><rdf:li xml:lang='x-default'>{text}</rdf:li></rdf:Alt>"


def with_iptc(path: Path, values: Sequence[bytes], field: int = 120, before: bytes = b"") -> Path:
    """Put IPTC captions (2:120), or another field, into a JPEG, as photo managers do: in Photoshop's segment APP13."""
    records = before
    for value in values:
        records += b"\x1c\x02" + bytes([field]) + struct.pack(">H", len(value)) + value
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records + bytes(len(records) % 2)
    segment = b"Photoshop 3.0\0" + resource
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:])
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
def test_exif_in_every_format(tmp_path: Path, suffix: str) -> None:
    data = exif("a dog on a beach", b"ASCII\0\0\0it was warm", "2021:07:04 12:30:00")
    path = save(tmp_path / f"photo.{suffix}", data)
    assert said(path) == ["a dog on a beach", "it was warm"]
    assert dated(path) == ("2021-07-04T12:30:00", "DateTimeOriginal")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tiff"])
def test_xmp_in_every_language(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    if suffix == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP)
        small().save(path, pnginfo=info)
    elif suffix == "tiff":
        small().save(path, tiffinfo={700: XMP.encode()})
    else:
        save(path, xmp=XMP)
    assert said(path) == ["on the beach", "a dog on a beach", "ein schöner Hund"]


def test_iptc_captions_and_equal_texts_once(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", exif("a dog on a beach"), XMP)
    with_iptc(path, ["caf\u00e9 at night".encode("latin-1"), b"a dog  on a beach\r\n"])
    assert said(path) == ["a dog on a beach", "café at night", "on the beach", "ein schöner Hund"]


@pytest.mark.parametrize(
    ("comment", "texts"),
    [
        (b"ASCII\0\0\0two words\0\0", ["two words"]),
        (b"ASCII\0\0\0two\0words", ["two words"]),
        (b"JIS\0\0\0\0\0" + "海辺の犬".encode("iso2022_jp"), ["海辺の犬"]),
        (b"UNICODE\0" + "two words".encode("utf-16-be") + b"\xd8\0", ["two words"]),
        (bytes(8) + "schöne Grüße".encode(), ["schöne Grüße"]),
        (bytes(8) + "schöne Grüße".encode("latin-1"), ["schöne Grüße"]),
        (b"UNICODE\0" + "schöne Grüße".encode("utf-16-be"), ["schöne Grüße"]),  # Pillow writes EXIF big-endian
        (b"UNICODE\0" + "schöne Grüße".encode("utf-16"), ["schöne Grüße"]),
        (b"UNICODE\0" + "in any order".encode("utf-16-le"), ["in any order"]),
        (b"UNICODE\0" + "海辺の犬".encode("utf-16-be"), ["海辺の犬"]),
        (bytes(8) + "海辺の犬".encode("shift-jis"), []),  # its bytes are control characters elsewhere
        (b"UNICODE\0\xd8", []),
        (b"ASCII", []),
        (b"ASCII\0\0\0bell \x07 rings", ["bell rings"]),
    ],
)
def test_encodings_of_user_comments(tmp_path: Path, comment: bytes, texts: list[str]) -> None:
    assert read(save(tmp_path / "photo.jpg", exif(comment=comment))).descriptions == texts


def test_a_description_in_utf8(tmp_path: Path) -> None:
    """Pillow decodes it as Latin-1, and writes ASCII only: the bytes are put into the file."""
    path = save(tmp_path / "photo.jpg", exif("ein schxxner Hund"))
    path.write_bytes(path.read_bytes().replace(b"schxxner", "schöner".encode()))
    assert read(path).descriptions == ["ein schöner Hund"]


@pytest.mark.parametrize(
    "text", ["Sunset", "MUM AT THE BEACH", "ROME 2019", "nora", "Samsung phone on a desk", "a 1", "C3PO"]
)
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
        "42",
        "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90",
        "File written by Adobe Photoshop\xa8 4.0",
        "Created in Adobe Photoshop Lightroom Classic 12.3",
        "Created with The GIMP",
        "LEAD Technologies Inc. V1.01",
        "filter: 0; fileterIntensity: 0.0; filterMask: 0; captureOrientation: 0; module: photo;",
        "oplus_1048864",
        "Screenshot_20200101-120000",
        "cmp3.10.3.2Lq3 0x756ffbf7",
    ],
)
def test_what_programs_write_is_no_description(tmp_path: Path, text: str) -> None:
    assert read(save(tmp_path / "photo.jpg", exif(text))).descriptions == []


@pytest.mark.parametrize(
    "text",
    [
        "[Anna] at the sea",
        "(with friends)",
        "{curly} hair",
        "<3 from Rome",
        "Made with love by Grandma",
        "Made with GIMP for Grandma",
        "Created by Dad in the shed",
        "Edited by Anna",
        "Processed by hand in the darkroom",
        "MY FIRST DIGITAL CAMERA",
        "SAMSUNG PHONES ON A TABLE",
        "NYC2019",
        "Geburtstagsfeier2019",
        "IMG_1234 shows Anna",
        "x=5 on the board",
        "so tired \U0001fae9",
        "cake \U0001faff",  # which no Unicode knows yet
        "\U0001f382",
        "a screenshot of chess",
    ],
)
def test_captions_that_resemble_what_programs_write(tmp_path: Path, text: str) -> None:
    metadata = read(save(tmp_path / "photo.jpg", exif(comment=b"UNICODE\0" + text.encode("utf-16-be"))))
    assert (metadata.descriptions, list(metadata.left_out)) == ([text], [])


def test_what_is_left_out_is_reported(tmp_path: Path) -> None:
    metadata = read(save(tmp_path / "photo.jpg", exif("OLYMPUS DIGITAL CAMERA", b"ASCII\0\0\0SONY DSC")))
    assert (metadata.descriptions, list(metadata.left_out)) == ([], ["OLYMPUS DIGITAL CAMERA", "SONY DSC"])
    assert metadata.facts.left_out == 2


@pytest.mark.parametrize(
    ("written", "stored"),
    [("two\ud800 words", "two words"), ("two\0words", "two words"), ("t\ufffdwo", "two"), ("a\x1b[1mb", "a [1mb")],
)
def test_a_bad_character_costs_itself(written: str, stored: str) -> None:
    assert shortened(written) == stored


def test_the_name_of_an_encoding_before_a_comment(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", exif(comment=bytes(8) + b'charset="Ascii" two words'))
    assert said(path) == ["two words"]


# --- where texts stand ---


def test_texts_of_windows(tmp_path: Path) -> None:
    data = Image.Exif()
    for tag, text in ((0x9C9B, "Ducks"), (0x9C9C, "Uncle with a bicycle"), (0x9C9E, "beach;dog"), (0x9C9F, "Summer")):
        data[tag] = f"{text}\0".encode("utf-16-le")
    assert said(save(tmp_path / "photo.jpg", data.tobytes())) == [
        *("Ducks", "Uncle with a bicycle", "Summer", "beach, dog"),
    ]


def test_iptc_titles_and_keywords(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg")
    with_iptc(path, [b"harbour", "Möwe".encode()], 25)
    assert said(path) == ["harbour, Möwe"]
    path = save(tmp_path / "photo.jpg")
    with_iptc(path, [b"A headline"], 105)
    assert said(path) == ["A headline"]
    path = save(tmp_path / "photo.jpg")
    with_iptc(path, [b"A title"], 5)
    assert said(path) == ["A title"]


def test_iptc_that_names_its_encoding(tmp_path: Path) -> None:
    """What is not UTF-8 after all costs only itself."""
    path = save(tmp_path / "photo.jpg")
    charset = b"\x1c\x01\x5a" + struct.pack(">H", 3) + b"\x1b%G"
    with_iptc(path, ["Möwe ".encode() + b"\xff!"], before=charset)
    assert said(path) == ["Möwe !"]


@pytest.mark.parametrize(
    ("properties", "texts"),
    [
        ("<dc:title>Ducks</dc:title>", ["Ducks"]),
        (f"<dc:subject>{bag('beach', 'dog', 'beach')}</dc:subject>", ["beach, dog"]),
        (f"<core:AltTextAccessibility>{alt('A child')}</core:AltTextAccessibility>", ["A child"]),
        (f"<core:ExtDescrAccessibility>{alt('A child runs')}</core:ExtDescrAccessibility>", ["A child runs"]),
        ("<photoshop:Headline>News</photoshop:Headline>", ["News"]),
        (f"<ext:PersonInImage>{bag('Anna', 'Ben')}</ext:PersonInImage>", ["Anna, Ben"]),
        (
            "<mwg:Regions rdf:parseType='Resource'><mwg:RegionList><rdf:Bag>"
            "<rdf:li><rdf:Description mwg:Name='Anna' mwg:Type='Face'/></rdf:li>"
            "<rdf:li rdf:parseType='Resource'><mwg:Name>Ben</mwg:Name><mwg:Type>Face</mwg:Type></rdf:li>"
            "</rdf:Bag></mwg:RegionList></mwg:Regions>",
            ["Anna, Ben"],
        ),
        (
            "<mp:RegionInfo rdf:parseType='Resource'><mpri:Regions><rdf:Bag>"
            "<rdf:li mpreg:PersonDisplayName='Anna' mpreg:Rectangle='0,0,1,1'/>"
            "</rdf:Bag></mpri:Regions></mp:RegionInfo>",
            ["Anna"],
        ),
        ("<dc:description>Ducks</dc:description><dc:title>Ducks</dc:title>", ["Ducks"]),
        ("<dc:title>Du\x07cks &#0;by&#xFFFF; the lake</dc:title>", ["Ducks by the lake"]),
    ],
)
def test_properties_of_xmp(tmp_path: Path, properties: str, texts: list[str]) -> None:
    assert said(save(tmp_path / "photo.jpg", xmp=xmp(properties))) == texts
    (tmp_path / "photo.xmp").write_text(xmp(properties))
    assert said(save(tmp_path / "photo.jpg"), tmp_path / "photo.xmp") == texts


def test_properties_written_as_attributes(tmp_path: Path) -> None:
    assert said(save(tmp_path / "photo.jpg", xmp=xmp("", "dc:title='Ducks' photoshop:Headline='News'"))) == [
        *("Ducks", "News"),
    ]


def with_extended_xmp(path: Path, packet: str, *, named: str, without: int | None = None) -> Path:
    """A JPEG with a second packet of XMP in parts, last first; perhaps without one of them."""
    content, whole, digest = path.read_bytes(), packet.encode(), "0123456789ABCDEF" * 2
    segments = []
    for number, place in enumerate(range(0, len(whole), 60_000)):
        head = b"http://ns.adobe.com/xmp/extension/\0" + digest.encode() + struct.pack(">II", len(whole), place)
        part = head + whole[place : place + 60_000]
        segments += [b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part] if number != without else []
    first = xmp("", f"xmlns:xmpNote='http://ns.adobe.com/xmp/note/' xmpNote:HasExtendedXMP='{named or digest}'")
    main = b"http://ns.adobe.com/xap/1.0/\0" + first.encode()
    main = b"\xff\xe1" + struct.pack(">H", len(main) + 2) + main
    path.write_bytes(content[:2] + main + b"".join(reversed(segments)) + content[2:])
    return path


def test_xmp_that_needs_several_segments(tmp_path: Path) -> None:
    mask = f"<photoshop:mask>{'0' * 150_000}</photoshop:mask>"
    packet = xmp(f"<dc:title>Ducks</dc:title>{mask}<dc:description>on a pond</dc:description>")
    photo = with_extended_xmp(save(tmp_path / "whole.jpg"), packet, named="")
    assert said(photo) == ["Ducks", "on a pond"]
    photo = with_extended_xmp(save(tmp_path / "cut.jpg"), packet, named="", without=1)
    assert said(photo) == ["Ducks"]
    photo = with_extended_xmp(save(tmp_path / "other.jpg"), packet, named="F" * 32)
    assert said(photo) == []


def test_xmp_that_ends_too_early(tmp_path: Path) -> None:
    (tmp_path / "photo.xmp").write_text(
        xmp("<dc:title>Ducks</dc:title><dc:description>by the")[:-60].partition("by")[0]
    )
    metadata = read(save(tmp_path / "photo.jpg"), tmp_path / "photo.xmp")
    assert metadata.descriptions == ["Ducks"]
    ((path, reason),) = metadata.problems
    assert path == str(tmp_path / "photo.xmp")
    assert reason.startswith("not XML")


def test_large_xmp_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "photo.xmp").write_bytes(b" " * (17 << 20))
    metadata = read(save(tmp_path / "photo.jpg"), tmp_path / "photo.xmp")
    assert metadata.descriptions == []
    assert len(metadata.problems) == 1
    many = "".join(f"<dc:title>{number}x</dc:title>" for number in range(5000))
    assert len(said(save(tmp_path / "photo.jpg", xmp=""), write(tmp_path / "a.xmp", xmp(many)))) == 100


def test_xmp_that_is_nested_without_end(tmp_path: Path) -> None:
    """A parser takes memory for each element that is open."""
    (tmp_path / "photo.xmp").write_text(xmp("<dc:title>Ducks</dc:title>" + "<a>" * 10_000))
    metadata = read(save(tmp_path / "photo.jpg"), tmp_path / "photo.xmp")
    assert metadata.descriptions == ["Ducks"]
    assert "nested too deeply" in metadata.problems[0][1]


def test_texts_of_a_png_before_and_after_the_picture(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt("Description", "Teacher, älter")
    info.add_text("Title", "A title", zip=True)
    info.add_text("Software", "a program")
    small().save(tmp_path / "photo.png", pnginfo=info)
    assert sorted(said(tmp_path / "photo.png")) == ["A title", "Teacher, älter"]
    png = (tmp_path / "photo.png").read_bytes()
    chunk = b"tEXtComment\0at the end"
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "photo.png").write_bytes(png[:-12] + chunk + png[-12:])
    assert "at the end" in said(tmp_path / "photo.png")


def test_a_large_text_of_a_png_costs_itself(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Comment", "long " * 1_000_000, zip=True)
    info.add_text("Title", "short")
    small().save(tmp_path / "photo.png", pnginfo=info)
    assert "short" in said(tmp_path / "photo.png")


@pytest.mark.parametrize("suffix", ["jpg", "gif"])
def test_the_comment_of_a_jpeg_and_of_a_gif(tmp_path: Path, suffix: str) -> None:
    small().save(tmp_path / f"photo.{suffix}", comment="Nachbar am Zaun, grün".encode("latin-1"))
    assert said(tmp_path / f"photo.{suffix}") == ["Nachbar am Zaun, grün"]


def test_both_comments_of_a_jpeg(tmp_path: Path) -> None:
    """A program puts its own in front of what somebody wrote, or behind it."""
    small().save(tmp_path / "photo.jpg", comment="CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90")
    jpeg = (tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "photo.jpg").write_bytes(jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 11) + b"two words" + jpeg[2:])
    metadata = read(tmp_path / "photo.jpg")
    assert (metadata.descriptions, len(metadata.left_out)) == (["two words"], 1)


# --- Google Takeout ---


def test_what_takeout_says(tmp_path: Path) -> None:
    content = {
        "title": "photo.jpg",
        "description": "Picnic beside the lake",
        "people": [{"name": "Anna"}, {"name": "Ben"}, {}],
        "photoTakenTime": {"timestamp": "1304665689", "formatted": "May 6, 2011"},
    }
    beside = write(tmp_path / "photo.jpg.json", json.dumps(content))
    path = save(tmp_path / "photo.jpg")
    assert said(path, beside) == ["Picnic beside the lake", "Anna, Ben"]
    assert dated(path, beside) == (local_time(from_utc(1304665689) or 0), "Google Takeout")


@pytest.mark.parametrize("content", ["[]", "{}", '{"description": 3, "people": 4, "photoTakenTime": 5}', '"a"'])
def test_json_of_other_programs(tmp_path: Path, content: str) -> None:
    beside = write(tmp_path / "photo.jpg.json", content)
    assert read(save(tmp_path / "photo.jpg"), beside) == NOTHING


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"photoTakenTime": {"timestamp": "' + "9" * 400])
def test_json_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    metadata = read(save(tmp_path / "photo.jpg"), write(tmp_path / "photo.jpg.json", content))
    assert [path for path, _ in metadata.problems] == [str(tmp_path / "photo.jpg.json")]


def test_a_file_beside_that_is_gone_or_no_plain_file(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg")
    assert read(path, tmp_path / "photo.xmp") == NOTHING
    os.mkfifo(tmp_path / "photo.xmp")
    assert [problem for problem, _ in read(path, tmp_path / "photo.xmp").problems] == [str(tmp_path / "photo.xmp")]


# --- dates ---


def exif_of(base: dict[int, object], of_photo: dict[int, object] | None = None) -> bytes:
    data = Image.Exif()
    data.update(base)
    data.get_ifd(0x8769).update(of_photo or {})
    return data.tobytes()


DATE = "2011:05:06 07:08:09"


@pytest.mark.parametrize(
    ("base", "of_photo", "properties", "source"),
    [
        ({}, {TAKEN: DATE}, "", "DateTimeOriginal"),
        ({0x132: "2012:01:01 00:00:00"}, {0x9004: DATE}, "", "DateTimeDigitized"),
        ({}, {TAKEN: "0000:00:00 00:00:00", 0x9004: DATE}, "", "DateTimeDigitized"),
        ({}, {TAKEN: "1970:01:01 00:00:00", 0x9004: DATE}, "", "DateTimeDigitized"),
        ({}, {TAKEN: "2011-05-06T07:08:09"}, "", "DateTimeOriginal"),
        ({0x132: "2012:01:01 00:00:00"}, {}, "xmp:CreateDate='2011-05-06T07:08:09'", "XMP"),
        ({}, {}, "xmp:CreateDate='2012-01-01' exif:DateTimeOriginal='2011-05-06T07:08:09.5+02:00'", "XMP"),
        ({}, {}, "photoshop:DateCreated='2011-05-06T07:08:09'", "XMP"),
        ({0x132: DATE}, {}, "", "DateTime"),
    ],
)
def test_where_a_date_is_from(
    tmp_path: Path, base: dict[int, object], of_photo: dict[int, object], properties: str, source: str
) -> None:
    path = save(tmp_path / "photo.jpg", exif_of(base, of_photo), xmp("", properties) if properties else "")
    assert dated(path) == ("2011-05-06T07:08:09", source)


def test_the_time_of_gps_and_of_a_png_are_in_utc(tmp_path: Path) -> None:
    data = Image.Exif()
    data.get_ifd(0x8825).update({29: "2011:05:06", 7: (7.0, 8.0, 9.0)})
    expected = local_time(from_utc(1304665689) or 0)
    assert dated(save(tmp_path / "photo.jpg", data.tobytes())) == (expected, "GPS")
    small().save(tmp_path / "photo.png")
    png = (tmp_path / "photo.png").read_bytes()
    chunk = b"tIME" + struct.pack(">HBBBBB", 2011, 5, 6, 7, 8, 9)
    chunk = struct.pack(">I", 7) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "photo.png").write_bytes(png[:33] + chunk + png[33:])
    assert dated(tmp_path / "photo.png") == (expected, "PNG")


def test_the_date_of_iptc_and_of_a_png_text(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg")
    with_iptc(path, [b"20110506"], 55)
    assert dated(path) == ("2011-05-06T00:00:00", "IPTC")
    info = PngInfo()
    info.add_text("Creation Time", "Fri, 6 May 2011 07:08:09 +0200")
    small().save(tmp_path / "photo.png", pnginfo=info)
    assert dated(tmp_path / "photo.png") == ("2011-05-06T07:08:09", "PNG")


def test_the_date_in_a_sidecar_counts_if_the_photo_has_none(tmp_path: Path) -> None:
    beside = write(tmp_path / "photo.xmp", xmp("", "exif:DateTimeOriginal='2011-05-06T07:08:09'"))
    assert dated(save(tmp_path / "photo.jpg"), beside) == ("2011-05-06T07:08:09", "XMP sidecar")
    path = save(tmp_path / "photo.jpg", exif(taken="2021:07:04 12:30:00"))
    assert dated(path, beside) == ("2021-07-04T12:30:00", "DateTimeOriginal")


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "1970:01:01 01:00:00"])
def test_dates_that_are_none(tmp_path: Path, taken: str) -> None:
    assert dated(save(tmp_path / "photo.jpg", exif("two words", taken=taken))) is None


def test_a_photo_that_says_nothing(tmp_path: Path) -> None:
    assert read(save(tmp_path / "photo.jpg")) == NOTHING
    assert read(save(tmp_path / "photo.png")) == NOTHING


def test_damaged_metadata_costs_nothing_but_itself(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa">]><d xmlns:dc="http://purl.org/dc/elements/1.1/">'
    bomb += "<dc:description>&a; two words</dc:description></d>"
    path = save(tmp_path / "photo.jpg", exif("two words", taken="2021:07:04 12:30:00"), bomb)
    with_iptc(path, [b"three more words"])
    assert said(path) == ["two words", "three more words"]
    assert dated(path) == ("2021-07-04T12:30:00", "DateTimeOriginal")
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"Exif\0\0") + 6
    damaged[place : place + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    assert said(path) == ["three more words"]
    assert dated(path) is None


# --- places ---

GPS = 0x8825


def gps(latitude: object, north: str, longitude: object, east: str) -> bytes:
    """EXIF data with a place: degrees, minutes and seconds, and the letters of their halves of the Earth."""
    data = Image.Exif()
    given = {1: north, 2: latitude, 3: east, 4: longitude}
    data.get_ifd(GPS).update({tag: value for tag, value in given.items() if value})
    return data.tobytes()


def place(path: Path, *beside: Path) -> tuple[float, ...] | None:
    found = read(path, *beside).place
    return found and tuple(round(degrees, 4) for degrees in found)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
def test_places_in_exif(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", gps((33, 52, 7.68), "S", (151, 12.558, 0), "E"))
    assert place(path) == (-33.8688, 151.2093)
    assert read(path).facts[3:] == (-338_688_000, 1_512_093_000)
    assert place(save(tmp_path / f"b.{suffix}", gps((48.8566, 0, 0), "N", (0, 7, 39.84), "W"))) == (48.8566, -0.1277)


@pytest.mark.parametrize(
    "given",
    [
        ((91, 0, 0), "N", (2, 0, 0), "E"),
        ((48, 0, 0), "N", (180, 0, 1), "E"),
        ((0, 0, 0), "N", (0, 0, 0), "E"),
        ((48, 0, 0), "", (2, 0, 0), "E"),
        ((48, 0, 0), "X", (2, 0, 0), "E"),
        ((48, 0, 0), "N", (), ""),
        ((IFDRational(0, 0), 0, 0), "N", (2, 0, 0), "E"),
        ((48, IFDRational(1, 0), 0), "N", (2, 0, 0), "E"),
        ((48, 0, 0, 0), "N", (2, 0, 0), "E"),
    ],
)
def test_a_place_that_is_none_costs_itself_alone(tmp_path: Path, given: tuple[object, str, object, str]) -> None:
    data = Image.Exif()
    data.load(gps(*given))
    data[DESCRIPTION] = "a dog"
    path = save(tmp_path / "a.jpg", data.tobytes())
    assert read(path) == Metadata(None, ["a dog"])


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ("48,51.396N", "2,21.132E", (48.8566, 2.3522)),
        ("33,52,7.68S", "151,12,33.48E", (-33.8688, 151.2093)),
        ("48.8566", "-2.3522", (48.8566, -2.3522)),
        ("48N", "2W", (48, -2)),
        ("48,51.396N", "", None),
        ("48,51.396E", "2,21.132N", None),
        ("nan", "2", None),
        ("91,0N", "2,0E", None),
        ("0,0N", "0,0E", None),
        ("48,1,2,3N", "2,0E", None),
    ],
)
def test_places_in_xmp(tmp_path: Path, latitude: str, longitude: str, expected: tuple[float, float] | None) -> None:
    said = xmp("<dc:title>a dog</dc:title>", f"exif:GPSLatitude='{latitude}' exif:GPSLongitude='{longitude}'")
    inside = save(tmp_path / "a.jpg", xmp=said)
    assert (place(inside), read(inside).descriptions) == (expected, ["a dog"])
    assert place(save(tmp_path / "b.jpg"), write(tmp_path / "b.xmp", said)) == expected
    as_elements = f"<exif:GPSLatitude>{latitude}</exif:GPSLatitude><exif:GPSLongitude>{longitude}</exif:GPSLongitude>"
    assert place(save(tmp_path / "c.jpg", xmp=xmp(as_elements))) == expected


def test_places_in_takeout_and_which_of_several_counts(tmp_path: Path) -> None:
    def takeout(**said: object) -> Path:
        return write(tmp_path / "a.jpg.json", json.dumps({"title": "a.jpg", "description": "a dog"} | said))

    nowhere, rome, odd = (
        {"latitude": latitude, "longitude": longitude, "altitude": 0.0}
        for latitude, longitude in ((0.0, 0.0), (41.9028, 12.4964), ("north", [2]))
    )
    plain = save(tmp_path / "a.jpg")
    assert place(plain, takeout(geoData=rome)) == (41.9028, 12.4964)
    assert place(plain, takeout(geoData=nowhere, geoDataExif=rome)) == (41.9028, 12.4964)
    for said in ({"geoData": odd}, {"geoData": 5}, {"geoData": {"latitude": 5}}, {"geoData": nowhere}):
        assert read(plain, takeout(**said)) == Metadata(None, ["a dog"])
    sidecar = write(tmp_path / "a.xmp", xmp("", "exif:GPSLatitude='1,0N' exif:GPSLongitude='2,0E'"))
    assert place(plain, sidecar, takeout(geoData=rome)) == (1, 2)
    own = save(tmp_path / "a.jpg", gps((3, 0, 0), "N", (4, 0, 0), "E"))
    assert place(own, sidecar, takeout(geoData=rome)) == (3, 4)
