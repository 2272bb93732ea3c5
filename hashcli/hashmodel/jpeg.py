"""The structure of JPEG files: what comes before the picture, its scans, and how much of it a cut file still has.

After ITU-T T.81, annex B (markers and headers) and section G.1.1 (progressive scans).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

END = b"\xff\xd9"

# The segments that matter for showing a picture, by their markers, and how they begin.
SHOWING: Mapping[int, bytes] = {0xE0: b"JFIF", 0xE1: b"Exif", 0xE2: b"ICC_PROFILE", 0xEE: b"Adobe"}

_SCAN, _COMMENT = 0xDA, 0xFE
_FRAME = re.compile(rb"\xff([\xc0-\xc2\xc9\xca])..\x08(..)(..)(.)((?:...){1,4})", re.DOTALL)
_SCAN_HEADER = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]([\x01-\x04])")
_RESTART_INTERVAL = re.compile(rb"\xff\xdd\x00\x04(..)", re.DOTALL)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_PROGRESSIVE = (b"\xc2", b"\xca")


class _Scan(NamedTuple):
    """Where a scan begins, its components, its first and last coefficient, and the lowest bit that it gives."""

    start: int
    components: bytes
    first: int
    last: int
    low: int


def without_metadata(content: bytes, keep: Mapping[int, bytes] = {}) -> bytes:
    """A JPEG with only those segments before its first scan that decode it, and those of applications in `keep`.

    After a segment whose length is wrong, it goes on with the tables of the largest picture.
    """
    kept, start = [content[:2]], 2
    while start + 4 <= len(content):
        marker, length = content[start + 1], int.from_bytes(content[start + 2 : start + 4])
        end = start + 2 + length
        if content[start] != 0xFF or marker in (0x00, 0xFF):
            start += 1
        elif marker == _SCAN:
            return b"".join((*kept, content[start:]))
        elif content[end : end + 1] != b"\xff":
            start = _tables_after(content, start + 2)
        else:
            is_kept = marker != _COMMENT and not 0xE0 <= marker <= 0xEF
            if is_kept or (marker in keep and content.startswith(keep[marker], start + 4)):
                kept.append(content[start:end])
            start = end
    return content


def count_scans(content: bytes) -> int:
    """The scans up to the end of the picture. What comes after it, such as a film, does not count."""
    bare = without_metadata(content)
    end = bare.find(END)
    return bare.count(b"\xff\xda", 0, end if end >= 0 else len(bare))


def lost_share(content: bytes, differing: float) -> float:
    """The share of a picture that is not in the file, 0 to 1.

    `differing` is the share of its pixels that depend on what comes after the end of the file. Behind a restart
    nothing does, so the intervals that are missing are counted. A progressive picture is there early, but coarse: what
    counts are the bytes, and all of it is lost if the last scan in the file is not the last of the picture.
    """
    bare = without_metadata(content)
    frame, scans = _FRAME.search(bare), _scans(bare)
    if frame is None or not scans or not _is_complete(frame, scans):
        return 1.0
    if len(scans) == 1:
        return min(1.0, differing + _lost_intervals(bare, frame, scans[0]))
    if frame[1] not in _PROGRESSIVE:
        return differing
    last = len(bare) - scans[-1].start
    return 1 - len(bare) / (scans[-1].start + last / max(1 - differing, 1e-3))


def _tables_after(content: bytes, start: int) -> int:
    """Where the tables of the largest picture begin: an EXIF block may hold a small one."""
    frames = [
        (int.from_bytes(found[2]) * int.from_bytes(found[3]), found.start())
        for found in _FRAME.finditer(content, start)
    ]
    if not frames:
        return len(content)
    _, frame = max(frames)
    tables = content.find(b"\xff\xdb", max(content.rfind(END, start, frame), start), frame)
    return frame if tables < 0 else tables


def _scans(bare: bytes) -> list[_Scan]:
    scans = []
    for found in _SCAN_HEADER.finditer(bare):
        count, start = found[1][0], found.end()
        header = bare[start : start + 2 * count + 3]
        if len(header) == 2 * count + 3:
            scans.append(_Scan(found.start(), header[0 : 2 * count : 2], header[-3], header[-2], header[-1] & 15))
    return scans


def _components(frame: re.Match[bytes]) -> bytes:
    return frame[5][0 : 3 * frame[4][0] : 3]


def _is_complete(frame: re.Match[bytes], scans: list[_Scan]) -> bool:
    """Whether each coefficient of each component has a scan down to its lowest bit."""
    missing = {component: [True] * 64 for component in _components(frame)}
    for scan in scans:
        for component in set(scan.components) & set(missing):
            last = min(scan.last, 63)
            missing[component][scan.first : last + 1] = [scan.low > 0] * max(0, last + 1 - scan.first)
    return not any(any(coefficients) for coefficients in missing.values())


def _lost_intervals(bare: bytes, frame: re.Match[bytes], scan: _Scan) -> float:
    """The share of the intervals between restart markers that is missing; 0 if there are no restarts."""
    intervals = _RESTART_INTERVAL.findall(bare, 0, scan.start)
    units_each = int.from_bytes(intervals[-1]) if intervals else 0
    if not units_each:
        return 0.0
    height, width = int.from_bytes(frame[2]), int.from_bytes(frame[3])
    sampling = frame[5][1 : 3 * frame[4][0] : 3] if frame[4][0] > 1 else b"\x11"
    across, down = max(max(factors >> 4, 1) for factors in sampling), max(max(factors & 15, 1) for factors in sampling)
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    expected = -(-units // units_each)
    found = 1 + len(_RESTART.findall(bare, scan.start))
    return max(0.0, 1 - found / max(expected, 1))
