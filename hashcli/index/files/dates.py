"""Dates as photos have them: the texts in which they are written, and which of a photo's dates counts."""

import calendar
import re
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?!\d)|(\d{4})(?:[-:/.](\d{1,2})(?:[-:/.](\d{1,2}))?)?(?!\d)", re.ASCII)
_TIME = re.compile(
    r"[T\s]*(\d{1,2}):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?\s*([AaPp][Mm])?\s*([Zz]|UTC|[+-]\d\d:?\d\d)?", re.ASCII
)
_YEARS = range(1800, 2101)
_LARGEST_OFFSET, _OFFSETS = 14 * 3600, 15 * 60  # of time zones from UTC, which are multiples of the second


class DateSource(IntEnum):
    """Where the date of a photo is from, the most reliable first. The numbers are stored in indexes."""

    ORIGINAL = 1
    DIGITIZED = 2
    XMP = 3
    XMP_SIDECAR = 4
    IPTC = 5
    CHANGED = 6
    GPS = 7
    TAKEOUT = 8
    PNG = 9


_LABELS = {
    DateSource.ORIGINAL: "DateTimeOriginal",
    DateSource.DIGITIZED: "DateTimeDigitized",
    DateSource.XMP: "XMP",
    DateSource.XMP_SIDECAR: "XMP sidecar",
    DateSource.IPTC: "IPTC",
    DateSource.CHANGED: "DateTime",
    DateSource.GPS: "GPS",
    DateSource.TAKEOUT: "Google Takeout",
    DateSource.PNG: "PNG",
}


def date_label(source: int | None) -> str | None:
    """How the stored number of a DateSource is shown; None for none, or for one of a newer hashcli."""
    return next((label for known, label in _LABELS.items() if known == source), None)


class PhotoDate(NamedTuple):
    """When a photo was taken, in seconds since 1970 of its local time as if that were UTC, and where this is from."""

    seconds: int
    source: DateSource


def parse_date(text: str) -> int | None:
    """A date as seconds since 1970 of the local time where the photo was taken; None for what is no date.

    The forms of EXIF (2019:07:04 12:30:00), ISO 8601 (2019-07-04T12:30:00.25+02:00) and mail (Thu, 4 Jul 2019 12:30:00
    +0200) are understood. What is missing counts as the first: January, the 1st, midnight. A time with an offset is the
    local time there; one in UTC is that of this machine's time zone, which is likely to be the photographer's.

    A camera without a date writes zeros, and many programs 1970-01-01: neither is a date.
    """
    text = text.replace("\0", " ").strip()
    found = _DATE.match(text)
    if not found:
        return _mail_date(text)
    year, month, day = found.groups()[:3] if found[1] else found.groups()[3:]
    return _local_seconds((int(year), int(month or 0) or 1, int(day or 0) or 1), _TIME.match(text, found.end()))


def from_utc(seconds: float) -> int | None:
    """A moment, in seconds since 1970, as seconds of the local time of this machine; None if it is absurd."""
    try:
        return _plausible(datetime.fromtimestamp(seconds))
    except (OverflowError, ValueError, OSError):
        return None


def _local_seconds(day: tuple[int, int, int], time: re.Match[str] | None) -> int | None:
    hour, minute, second, half, zone = time.groups() if time else (0, 0, 0, None, None)
    hour = int(hour)
    if half:
        hour = hour % 12 + 12 * (half.lower() == "pm")
    try:
        moment = datetime(*day, hour, int(minute), min(int(second or 0), 59))
    except ValueError:  # of a time such as 24:00, the day still counts
        return _local_seconds(day, None) if time else None
    if zone in ("Z", "z", "UTC"):
        return from_utc(moment.replace(tzinfo=UTC).timestamp())
    return _plausible(moment)


def _mail_date(text: str) -> int | None:
    from email.utils import parsedate_tz

    parts = parsedate_tz(text)
    if not parts:
        return None
    try:
        return _plausible(datetime(*parts[:6]))
    except ValueError:
        return None


def _plausible(moment: datetime) -> int | None:
    seconds = calendar.timegm(moment.timetuple())
    is_epoch = abs(seconds) <= _LARGEST_OFFSET and seconds % _OFFSETS == 0  # of some time zone
    return None if is_epoch or moment.year not in _YEARS else seconds
