"""What is said about a photo, in its file and in those beside it: when and where it was taken, and what somebody wrote
about it.

Texts are read from where photo managers put them: descriptions, titles, headlines, alternative texts and comments in
EXIF, IPTC, XMP, PNG and JPEG; keywords; and the names of people. What cameras and programs write there by themselves
does not count (see boilerplate.py). All keywords of a photo make one text, and so do all names.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import fsum
from typing import Any, NamedTuple

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from hashcli.errors import reason_of
from hashcli.index.catalog import PhotoFacts
from hashcli.index.files.boilerplate import is_by_people, without_charset
from hashcli.index.files.dates import DateSource, PhotoDate, from_utc, parse_date
from hashcli.index.files.metadata_files import is_takeout
from hashcli.index.files.png_texts import read_png_texts
from hashcli.index.files.text_files import MAX_CHARACTERS, shortened
from hashcli.index.files.xmp import MAX_BYTES, Xmp, read_xmp, rest_of_xmp
from hashcli.index.places import Place
from hashcli.parsing import parse_json
from hashcli.plain_files import read_plain

_XP_TEXTS = (0x9C9B, 0x9C9C, 0x9C9F)  # title, comment and subject, as Windows writes them
_XP_KEYWORDS = 0x9C9E
_IPTC_TEXTS = ((2, 120), (2, 105), (2, 5))  # caption, headline, object name
_IPTC_KEYWORDS, _IPTC_DATE, _IPTC_TIME = (2, 25), (2, 55), (2, 60)
_IPTC_CHARSET, _UTF8 = (1, 90), b"\x1b%G"
_PNG_TEXTS = ("description", "title", "comment", "caption")
_PNG_DATES = ("creation time", "create-date", "exif:datetimeoriginal")
_MOST_TEXTS = 100  # of one photo


class Metadata(NamedTuple):
    """What is recorded of a photo's metadata.

    taken           when it was taken, in seconds since 1970 of its local time as if that were UTC
    descriptions    what somebody wrote about it
    taken_from      which of its dates `taken` is, a DateSource
    left_out        texts that no person wrote, it seems
    problems        (path, reason) of the files beside it that could not be read
    place           where it was taken
    """

    taken: int | None
    descriptions: list[str]
    taken_from: int | None = None
    left_out: Sequence[str] = ()
    problems: Sequence[tuple[str, str]] = ()
    place: Place | None = None

    @property
    def facts(self) -> PhotoFacts:
        place = self.place.stored() if self.place else (None, None)
        return PhotoFacts(self.taken, self.taken_from, len(self.left_out), *place)


@dataclass
class _Found:
    """What the readers below have found."""

    texts: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    dates: list[PhotoDate] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    place: Place | None = None  # the first that was found

    def add_date(self, source: DateSource, seconds: int | None) -> None:
        if seconds is not None:
            self.dates.append(PhotoDate(seconds, source))

    def add_xmp(self, xmp: Xmp, source: DateSource) -> None:
        self.texts += xmp.texts
        self.keywords += xmp.keywords
        self.people += xmp.people
        for date in xmp.dates:
            self.add_date(source, parse_date(date))
        self.place = self.place or xmp.place


def read_metadata(image: Image.Image, path: str = "", beside: Iterable[str] = ()) -> Metadata:
    """The metadata of an `opened` image, of its file at `path`, and of the metadata files `beside` it.

    Damaged metadata costs only itself: the photo is still indexed.
    """
    found = _Found()
    readers: tuple[Callable[[Image.Image, _Found], None], ...] = (
        *(_exif_date, _exif_digitized, _exif_changed, _exif_gps, _exif_place),
        *(_image_description, _user_comment, _windows_texts, _iptc, _xmp, _comment),
    )
    for read in readers:
        with suppress(Exception):  # readers of damaged metadata raise nearly anything
            read(image, found)
    if image.format == "PNG" and path:
        with suppress(Exception):
            _png(path, found)
    for file in beside:
        try:
            (_takeout if is_takeout(file) else _xmp_sidecar)(file, found)
        except FileNotFoundError:  # deleted since its folder was read
            continue
        except (OSError, ValueError) as error:
            found.problems.append((file, reason_of(error)))
    date = min(found.dates, key=lambda date: date.source, default=None)
    kept, left_out = _sorted_out(_all_texts(found))
    taken, taken_from = date or (None, None)
    return Metadata(taken, kept, taken_from, tuple(left_out), tuple(found.problems), found.place)


def _all_texts(found: _Found) -> Iterator[str]:
    yield from found.texts
    for words in (found.keywords, found.people):
        yield ", ".join(dict.fromkeys(word for word in map(shortened, words) if word))


def _sorted_out(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The texts that people wrote, and those that are left out; each once."""
    kept: dict[str, None] = {}
    left_out: dict[str, None] = {}
    for text in (text[: 4 * MAX_CHARACTERS] for text in texts):
        stored = shortened(without_charset(text.strip("\0 ")))
        is_kept = is_by_people(text) and is_by_people(stored) and len(kept) < _MOST_TEXTS
        (kept if is_kept else left_out)[stored] = None
    left_out.pop("", None)
    return list(kept), list(left_out)


# --- EXIF ---


def _exif_ifd(image: Image.Image) -> Any:
    return image.getexif().get_ifd(ExifTags.IFD.Exif)


def _exif_date(image: Image.Image, found: _Found) -> None:
    found.add_date(DateSource.ORIGINAL, _date_of(_exif_ifd(image).get(ExifTags.Base.DateTimeOriginal)))


def _exif_digitized(image: Image.Image, found: _Found) -> None:
    found.add_date(DateSource.DIGITIZED, _date_of(_exif_ifd(image).get(ExifTags.Base.DateTimeDigitized)))


def _exif_changed(image: Image.Image, found: _Found) -> None:
    found.add_date(DateSource.CHANGED, _date_of(image.getexif().get(ExifTags.Base.DateTime)))


def _exif_gps(image: Image.Image, found: _Found) -> None:
    gps = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    day, time = gps.get(ExifTags.GPS.GPSDateStamp), gps.get(ExifTags.GPS.GPSTimeStamp)
    if day and not time:
        found.add_date(DateSource.GPS, _date_of(day))
    elif day and time:
        hour, minute, second = (int(part) for part in time)
        found.add_date(DateSource.GPS, parse_date(f"{_as_text(day)} {hour:02}:{minute:02}:{second:02}Z"))


def _exif_place(image: Image.Image, found: _Found) -> None:
    gps, tags = image.getexif().get_ifd(ExifTags.IFD.GPSInfo), ExifTags.GPS
    latitude = _degrees(gps.get(tags.GPSLatitude), _as_text(gps.get(tags.GPSLatitudeRef)), "NS")
    longitude = _degrees(gps.get(tags.GPSLongitude), _as_text(gps.get(tags.GPSLongitudeRef)), "EW")
    found.place = Place.of(latitude, longitude)


def _degrees(parts: Any, letter: str, letters: str) -> float:
    """Degrees from degrees, minutes and seconds, of which the last may be missing, and one of two letters, the second
    of which is for negative ones. Raises ValueError without a letter, which would leave open the half of the Earth."""
    values, letter = [float(part) for part in parts], letter.strip().upper()
    if len(values) > 3 or min(values) < 0 or letter not in tuple(letters):
        raise ValueError
    degrees = fsum(value / 60.0**power for power, value in enumerate(values))
    return -degrees if letter == letters[1] else degrees


def _date_of(value: Any) -> int | None:
    return parse_date(_as_text(value)) if value else None


def _as_text(value: Any) -> str:
    """A text of EXIF, which Pillow has decoded as Latin-1 unless its type is another one."""
    if isinstance(value, tuple) and all(isinstance(byte, int) for byte in value):
        value = bytes(value)
    return _decoded(value if isinstance(value, bytes) else str(value).encode("latin-1")).strip("\0")


def _image_description(image: Image.Image, found: _Found) -> None:
    if description := image.getexif().get(ExifTags.Base.ImageDescription):
        found.texts.append(_as_text(description))


def _user_comment(image: Image.Image, found: _Found) -> None:
    """The text comes after eight bytes that name its encoding."""
    exif = image.getexif()
    comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not comment:
        return
    if isinstance(comment, str):
        comment = comment.encode("latin-1")
    encoding, text = comment[:8], comment[8:]
    if encoding == b"JIS\0\0\0\0\0":
        found.texts.append(text.decode("iso2022_jp", errors="ignore"))
    elif encoding != b"UNICODE\0":
        found.texts.append(_decoded(text))
    elif text.startswith((b"\xff\xfe", b"\xfe\xff")):
        found.texts.append(text.decode("utf-16", errors="ignore"))
    else:
        little = exif.endian == "<"
        if any(text[::2]) != any(text[1::2]):  # ASCII letters show the order, which is not always that of the file
            little = any(text[::2])
        found.texts.append(text.decode("utf-16-le" if little else "utf-16-be", errors="ignore"))


def _windows_texts(image: Image.Image, found: _Found) -> None:
    exif = image.getexif()
    for tag in _XP_TEXTS:
        found.texts += _windows_text(exif.get(tag))
    for keywords in _windows_text(exif.get(_XP_KEYWORDS)):
        found.keywords += keywords.split(";")


def _windows_text(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [bytes(value).decode("utf-16-le", errors="ignore").strip("\0")] if value else []


# --- IPTC, XMP, comments ---


def _iptc(image: Image.Image, found: _Found) -> None:
    if not isinstance(image, ImageFile.ImageFile):
        return
    fields: dict[Any, Any] = IptcImagePlugin.getiptcinfo(image) or {}
    charset = fields.get(_IPTC_CHARSET)

    def values(name: tuple[int, int]) -> list[str]:
        value = fields.get(name, [])
        given = [value] if isinstance(value, bytes) else value
        return [text.decode(errors="ignore") if charset == _UTF8 else _decoded(text) for text in given]

    for name in _IPTC_TEXTS:
        found.texts += values(name)
    found.keywords += values(_IPTC_KEYWORDS)
    for day in values(_IPTC_DATE)[:1]:
        found.add_date(DateSource.IPTC, parse_date("T".join([day, *values(_IPTC_TIME)[:1]])))


def _xmp(image: Image.Image, found: _Found) -> None:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not packet:
        return
    packet = packet.encode() if isinstance(packet, str) else packet
    found.add_xmp(read_xmp(packet), DateSource.XMP)
    rest = rest_of_xmp(packet, (data for name, data in getattr(image, "applist", ()) if name == "APP1"))
    if rest:
        found.add_xmp(read_xmp(rest), DateSource.XMP)


def _comment(image: Image.Image, found: _Found) -> None:
    """The comments of a JPEG, and that of a GIF."""
    comments = [data for name, data in getattr(image, "applist", ()) if name == "COM"]
    for comment in comments or [image.info.get("comment")]:
        if isinstance(comment, bytes):
            found.texts.append(_decoded(comment))


def _png(path: str, found: _Found) -> None:
    texts, time = read_png_texts(path)
    found.texts += [texts[name] for name in _PNG_TEXTS if name in texts]
    dates = [*(texts[name] for name in _PNG_DATES if name in texts), *([time] if time else [])]
    for date in dates:
        found.add_date(DateSource.PNG, parse_date(date))


def _decoded(text: bytes) -> str:
    """Nothing says reliably how a text is encoded. Most texts are UTF-8; the others are older, mostly Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


# --- files beside the photo ---


def _xmp_sidecar(path: str, found: _Found) -> None:
    """Raises ValueError for a file that is not XMP as a whole; what could be read of it is taken."""
    xmp = read_xmp(read_plain(path, MAX_BYTES))
    found.add_xmp(xmp, DateSource.XMP_SIDECAR)
    if xmp.problem:
        raise ValueError(xmp.problem)


def _takeout(path: str, found: _Found) -> None:
    """The description, the people, the date and the place in a JSON file. Its title is the name of the photo's file.

    JSON of other programs may have none of these. Raises ValueError for what is no JSON.
    """
    said = parse_json(read_plain(path, MAX_BYTES).decode("utf-8-sig", errors="ignore"))
    if not isinstance(said, dict):
        return
    if isinstance(description := said.get("description"), str):
        found.texts.append(description)
    people = said.get("people")
    for person in people if isinstance(people, list) else []:
        if isinstance(person, dict) and isinstance(name := person.get("name"), str):
            found.people.append(name)
    taken = said.get("photoTakenTime")
    if isinstance(taken, dict):
        with suppress(TypeError, ValueError, OverflowError):
            found.add_date(DateSource.TAKEOUT, from_utc(float(taken.get("timestamp", ""))))
    for place in (said.get("geoData"), said.get("geoDataExif")):  # as set by the user, and as the camera wrote it
        if isinstance(place, dict):
            with suppress(KeyError, TypeError, ValueError, OverflowError):
                found.place = found.place or Place.of(float(place["latitude"]), float(place["longitude"]))
