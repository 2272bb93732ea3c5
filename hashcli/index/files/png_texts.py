"""The texts and the time in a PNG, wherever in the file they are.

Pillow reads those before the picture, and the others only while it decodes the picture.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 100_000
_MOST_BYTES = 1 << 20  # of one text


def read_png_texts(path: str) -> tuple[dict[str, str], str | None]:
    """The texts of a PNG by their keyword in lower case, and its time of change (in UTC) in the form of ISO 8601."""
    texts: dict[str, str] = {}
    time = None
    for kind, data in _chunks(path):
        if kind == b"tIME" and len(data) >= 7:
            time = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z".format(*struct.unpack_from(">HBBBBB", data))
        else:
            with suppress(Exception):  # a damaged text costs itself
                keyword, _, rest = data.partition(b"\0")
                texts.setdefault(keyword.decode("latin-1").lower(), _text(kind, rest))
    return texts, time


def _chunks(path: str) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the content of each chunk that holds a text or the time, up to the first damage."""
    with open(path, "rb") as file:
        if file.read(8) != _SIGNATURE:
            return
        for _ in range(_MOST_CHUNKS):
            header = file.read(8)
            if len(header) < 8 or header[4:] == b"IEND":
                return
            length = int.from_bytes(header[:4])
            if header[4:] in (b"tEXt", b"zTXt", b"iTXt", b"tIME") and length <= _MOST_BYTES:
                yield header[4:], file.read(length)
                length = 0
            file.seek(length + 4, 1)


def _text(kind: bytes, rest: bytes) -> str:
    """The text of a chunk, from what follows its keyword."""
    if kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif kind == b"iTXt":
        _, _, text = rest[2:].split(b"\0", 2)
        return (_inflated(text) if rest[:1] == b"\1" else text).decode(errors="ignore")
    try:  # Latin-1, says the standard; many programs write UTF-8
        return rest.decode()
    except UnicodeDecodeError:
        return rest.decode("latin-1")


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, _MOST_BYTES)
