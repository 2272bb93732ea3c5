"""What is written in a photo's file: when it was taken, and what somebody wrote about it.

Descriptions are read from where photo managers put them: EXIF ImageDescription and UserComment, the IPTC caption, and
XMP dc:description. What cameras and editors write there by themselves does not count.
"""

import calendar
import re
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from unicodedata import category

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from hashcli.index.files.text_files import shortened

_IPTC_CAPTION = (2, 120)
_NOT_TEXT = ("Cc", "Cn", "Co")  # Unicode categories: control characters, unassigned ones, and private use
_XMP_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
_BY_PROGRAMS = re.compile(r"(created|edited|made|processed) (with|by|in|using) |[{\[<]|\w+=", re.IGNORECASE)
_BY_CAMERAS = re.compile(
    r"""
    [A-Z ]*DIGITAL\ (STILL\ )?CAMERA.* | (?i:[a-z]*\ ?digital\ (still\ )?(camera|image))
    | (SONY|MINOLTA|SAMSUNG)\b[A-Z\d\ -]*
    | (?i:exif_jpeg\w* | exif\ jpeg | applemark | screenshot | user\ comments? | default | untitled)
    | (b_|r|oz|fpt|fbt)?(dav|hdr|cof|sdr|mde|edf|nor|bty|rbt|btr|ptr|nfd)(HDRB?|CO|pl)?(_\w+)*  # scenes, on phones
    | DCIM.* | \S+\.(?i:jpe?g|heic|png|dng|tiff?)
    | [A-Z]{1,6}[_-]?\d{3,}\S* | (?i:img|image|dsc[fn]?|pict?|photo)[_-]?\d+
    | [\da-fA-F-]{16,} | (?=\D*\d)[\w+/=]{16,}  # keys and hashes
    """,
    re.VERBOSE | re.ASCII,
)


class Metadata(NamedTuple):
    """When a photo was taken, in seconds since 1970 of its local time as if that were UTC, and its descriptions."""

    taken: int | None
    descriptions: list[str]


def read_metadata(image: Image.Image) -> Metadata:
    """The metadata of an `opened` image. Damaged metadata is passed over, so that the photo is still indexed."""
    taken = None
    with suppress(Exception):
        taken = _taken(image)
    found = []
    for read in (_image_description, _user_comment, _iptc_caption, _xmp_descriptions):
        with suppress(Exception):  # readers of damaged metadata raise nearly anything
            found += read(image)
    texts = (shortened(text.partition("\0")[0]) for text in found)
    return Metadata(taken, list(dict.fromkeys(text for text in texts if _is_description(text))))


def _taken(image: Image.Image) -> int | None:
    text = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
    if not text:
        return None
    return calendar.timegm(datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S").timetuple())


def _image_description(image: Image.Image) -> list[str]:
    description = image.getexif().get(ExifTags.Base.ImageDescription)
    return [_decoded(description.encode("latin-1"))] if description else []  # as which Pillow has decoded it


def _user_comment(image: Image.Image) -> list[str]:
    """The text comes after eight bytes that name its encoding."""
    exif = image.getexif()
    comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not comment:
        return []
    encoding, text = comment[:8], comment[8:]
    if encoding != b"UNICODE\0":
        return [_decoded(text)]
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [text.decode("utf-16")]
    little = exif.endian == "<"
    if any(text[::2]) != any(text[1::2]):  # ASCII letters show the byte order, which is not always that of the file
        little = any(text[::2])
    return [text.decode("utf-16-le" if little else "utf-16-be")]


def _iptc_caption(image: Image.Image) -> list[str]:
    if not isinstance(image, ImageFile.ImageFile):
        return []
    caption = (IptcImagePlugin.getiptcinfo(image) or {}).get(_IPTC_CAPTION, [])
    return [_decoded(text) for text in ([caption] if isinstance(caption, bytes) else caption)]


def _xmp_descriptions(image: Image.Image) -> list[str]:
    """The description in each of its languages."""
    if "xmp" not in image.info:
        return []
    from defusedxml import ElementTree

    root = ElementTree.fromstring(image.info["xmp"].rstrip(b"\0 "))
    return [text for description in root.iter(_XMP_DESCRIPTION) for text in description.itertext()]


def _decoded(text: bytes) -> str:
    """Nothing says reliably how a text is encoded. Most texts are UTF-8; the others are older, mostly Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _is_description(text: str) -> bool:
    """Whether a person wrote it: not a camera (OLYMPUS DIGITAL CAMERA), not a program, and not binary data."""
    by_people = any(char.isalpha() for char in text) and not _BY_PROGRAMS.match(text)
    return by_people and not _BY_CAMERAS.fullmatch(text) and all(category(char) not in _NOT_TEXT for char in text)
