"""XMP: what people and programs say about a photo in XML, inside it or in a file of its own beside it.

Only the properties named here are kept while the XML is read, so that memory does not grow with it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import fsum
from typing import Any

from hashcli.index.places import Place

_DC = "{http://purl.org/dc/elements/1.1/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_IPTC = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}"
_PERSONS = (
    "{http://www.metadataworkinggroup.com/schemas/regions/}Name",
    "{http://ns.microsoft.com/photo/1.2/t/Region#}PersonDisplayName",
    "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}PersonInImage",
)
_KEYWORDS = (f"{_DC}subject", "{http://ns.microsoft.com/photo/1.0/}LastKeywordXMP")
_TEXTS = (
    f"{_DC}title",
    f"{_DC}description",
    f"{_PHOTOSHOP}Headline",
    f"{_IPTC}AltTextAccessibility",
    f"{_IPTC}ExtDescrAccessibility",
    f"{_EXIF}UserComment",
    "{http://ns.adobe.com/tiff/1.0/}ImageDescription",
    "{http://ns.acdsee.com/iptc/1.0/}caption",
    "{http://ns.acdsee.com/iptc/1.0/}notes",
)
_DATES = (  # the most reliable first
    f"{_EXIF}DateTimeOriginal",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
    f"{_PHOTOSHOP}DateCreated",
    f"{_EXIF}DateTimeDigitized",
)
_PLACE = (f"{_EXIF}GPSLatitude", f"{_EXIF}GPSLongitude")
_WANTED = frozenset((*_PERSONS, *_KEYWORDS, *_TEXTS, *_DATES, *_PLACE))
MAX_BYTES = 16 << 20  # the masks of a raw converter can take a few megabytes
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_DEEPEST = 200  # elements within each other
_MOST_VALUES = 2000  # of one photo
_NUMBER = r"\s*(\d+(?:\.\d*)?)"
_DEGREES = re.compile(rf"{_NUMBER}(?:,{_NUMBER})?(?:,{_NUMBER})?\s*([NSEW])\s*", re.ASCII)
_CHARACTER = re.compile("&#(?:(\\d{1,7})|[xX]([\\da-fA-F]{1,6}));|[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass
class Xmp:
    """What is said about a photo: texts, keywords, the names of people, dates, the most reliable first, and its place.

    `problem` says why not all of it could be read.
    """

    texts: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    problem: str = ""
    place: Place | None = None


def read_xmp(packet: bytes) -> Xmp:
    """What XMP says. Of damaged XMP, that is what comes before the damage; a bad character costs only itself."""
    packet = packet.strip(b"\0 \r\n\t")
    if len(packet) > MAX_BYTES:
        return Xmp(problem=f"more than {MAX_BYTES >> 20} MB of XMP")
    values, problem = _values(packet)
    if problem:
        mended = _CHARACTER.sub(_allowed, packet.decode(errors="ignore")).encode()
        if mended != packet:
            values, problem = _values(mended)
    wanted: dict[str, list[str]] = {}
    for name, value in values:
        wanted.setdefault(name, []).append(value)

    def values_of(names: tuple[str, ...]) -> list[str]:
        return [value for name in names for value in wanted.get(name, [])]

    latitude, longitude = (wanted.get(name, [""])[0] for name in _PLACE)
    texts, keywords, people, dates = (values_of(names) for names in (_TEXTS, _KEYWORDS, _PERSONS, _DATES))
    return Xmp(texts, keywords, people, dates, problem, _place(latitude, longitude))


def _place(latitude: str, longitude: str) -> Place | None:
    """A place from texts such as 48,51.4N and 2,21,3.5E, or degrees alone."""
    found = [_degrees(latitude, "NS"), _degrees(longitude, "EW")]
    return None if None in found else Place.of(*found)  # type: ignore[arg-type]


def _degrees(text: str, letters: str) -> float | None:
    """Degrees, minutes and seconds with one of two letters, or signed degrees; None for anything else."""
    found = _DEGREES.fullmatch(text)
    if not found:
        try:
            return float(text)
        except ValueError:
            return None
    if found[4] not in letters:
        return None
    degrees = fsum(float(part or 0) / 60.0**power for power, part in enumerate(found.groups()[:3]))
    return -degrees if found[4] == letters[1] else degrees


def rest_of_xmp(packet: bytes, segments: Iterable[bytes]) -> bytes:
    """The second packet of a JPEG whose XMP did not fit into one segment, from the segments of APP1; b"" for none.

    Each part of it begins with the digest that the first packet names, the length of the whole, and its place in it
    (XMP specification, part 3, section 1.1.3.1). It ends before the first part that is missing, or after MAX_BYTES.
    """
    parts: dict[int, bytes] = {}
    start = len(_EXTENSION)
    for segment in segments:
        digest, place = segment[start : start + 32], segment[start + 36 : start + 40]
        if segment.startswith(_EXTENSION) and len(place) == 4 and digest in packet:
            parts[int.from_bytes(place)] = segment[start + 40 :]
    whole = bytearray()
    while len(whole) < MAX_BYTES and (part := parts.get(len(whole))):
        whole += part
    return bytes(whole[:MAX_BYTES])


def _allowed(found: re.Match[str]) -> str:
    """What a control character, or a reference to any character, is replaced with: nothing if XML does not allow it."""
    if not (found[1] or found[2]):
        return ""
    number = int(found[1]) if found[1] else int(found[2], 16)
    is_character = number in (9, 10, 13) or 32 <= number < 0xD800 or 0xE000 <= number < 0xFFFE or number >= 0x10000
    return found[0] if is_character and number < 0x110000 else ""


def _values(packet: bytes) -> tuple[list[tuple[str, str]], str]:
    """(property, value) of what is wanted, as far as the XML can be read, and why not all of it could be."""
    from defusedxml.ElementTree import DefusedXMLParser

    target = _WantedProperties()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        parser.feed(packet)
        parser.close()
    except Exception as error:  # of the parser, or for what is forbidden in XML from strangers
        return target.values, f"not XML: {error}"
    return target.values, ""


class _WantedProperties:
    """What an XML parser reports to. A property is an attribute or an element, with its values in itself or within."""

    def __init__(self) -> None:
        self.values: list[tuple[str, str]] = []
        self._depth = 0
        self._property, self._property_depth = "", 0
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        for name, value in attributes.items():
            if name in _WANTED:
                self._add(name, value)
        if self._property:
            self._flush()
        elif tag in _WANTED:
            self._property, self._property_depth = tag, self._depth
            self._text.clear()

    def data(self, text: str) -> None:
        if self._property:
            self._text.append(text)

    def end(self, _: str) -> None:
        if self._property:
            self._flush()
            if self._depth == self._property_depth:
                self._property = ""
        self._depth -= 1

    def close(self) -> Any:
        return None

    def _flush(self) -> None:
        self._add(self._property, "".join(self._text))
        self._text.clear()

    def _add(self, name: str, value: str) -> None:
        if value.strip() and len(self.values) < _MOST_VALUES:
            self.values.append((name, value))
