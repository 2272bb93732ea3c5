"""What a photo says of itself: when it was taken, and what somebody wrote about it.

Descriptions are looked for where photo managers put them: EXIF ImageDescription and UserComment, the IPTC caption, and
XMP dc:description. What cameras and editors write there by themselves is no description.
"""

import calendar
import re
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from hashcli.index.textfiles import shortened

_IPTC_CAPTION = (2, 120)
_XMP_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
_NOT_BY_PEOPLE = re.compile(r"(created|edited|made|processed) (with|by|in|using) |[{\[<]|\w+=", re.IGNORECASE)


class Metadata(NamedTuple):
    """When a photo was taken, in seconds since 1970 of its local time as if that were UTC, and its descriptions."""

    taken: int | None
    descriptions: list[str]


def read_metadata(image: Image.Image) -> Metadata:
    """Of an image that is opened. What is damaged here is passed over: it must not cost the photo."""
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
    return [_decoded(description.encode("latin-1"))] if description else []  # that is how Pillow decoded it


def _user_comment(image: Image.Image) -> list[str]:
    """Eight bytes that name the encoding stand before the text."""
    exif = image.getexif()
    comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not comment:
        return []
    encoding, text = comment[:8], comment[8:]
    if encoding != b"UNICODE\0":
        return [_decoded(text)]
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [text.decode("utf-16")]
    return [text.decode("utf-16-le" if exif.endian == "<" else "utf-16-be")]


def _iptc_caption(image: Image.Image) -> list[str]:
    if not isinstance(image, ImageFile.ImageFile):
        return []
    caption = (IptcImagePlugin.getiptcinfo(image) or {}).get(_IPTC_CAPTION, [])
    return [_decoded(text) for text in ([caption] if isinstance(caption, bytes) else caption)]


def _xmp_descriptions(image: Image.Image) -> list[str]:
    """In every language it is given in."""
    if "xmp" not in image.info:
        return []
    from defusedxml import ElementTree

    root = ElementTree.fromstring(image.info["xmp"].rstrip(b"\0 "))
    return [text for description in root.iter(_XMP_DESCRIPTION) for text in description.itertext()]


def _decoded(text: bytes) -> str:
    """Nothing says reliably how a text is encoded: mostly as UTF-8, and what is not UTF-8 is older."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _is_description(text: str) -> bool:
    """Not OLYMPUS DIGITAL CAMERA, nor a program's own notes."""
    by_people = any(char.islower() for char in text) and not _NOT_BY_PEOPLE.match(text)
    return by_people and len(text.split()) >= 2 and all(char >= " " for char in text)
