"""A photo to search by, as people give it: a path, an http(s) address, or `-` for one on stdin."""

import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hashcli.errors import HashcliError, reason_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from hashcli.hashmodel.model import HashModel

URL_SECONDS = 20
MAX_DOWNLOAD = 64 << 20  # bytes


def is_file(where: str) -> bool:
    """Whether it is a path, rather than an address or stdin."""
    return where != "-" and not where.startswith(("http://", "https://"))


def open_photo(where: str, model: "HashModel") -> "str | Image":
    """A path as it is, for the library to read; what stdin or an address holds as an image of the model's size.

    Raises HashcliError that names the source when it cannot be read.
    """
    if is_file(where):
        return where

    import tempfile
    from urllib.parse import urlsplit

    from PIL import Image

    from hashcli.hashmodel.formats import UnreadableImageError

    try:
        content = _read_stdin() if where == "-" else _download(where)
        with tempfile.NamedTemporaryFile(suffix=PurePosixPath(urlsplit(where).path).suffix) as file:
            file.write(content)
            file.flush()
            return Image.fromarray(model.load_pixels(file.name))
    except (UnreadableImageError, OSError, ValueError) as error:  # ValueError: not a valid address
        name = "The photo on stdin" if where == "-" else where
        unreadable = isinstance(error, UnreadableImageError)
        remedy = "in a format such as JPEG, PNG or WebP" if unreadable else "as a file, an address, or - for stdin"
        raise HashcliError(f"{name} cannot be read: {reason_of(error)}.", f"Give a photo {remedy}.") from error


def _read_stdin() -> bytes:
    return _not_too_large(sys.stdin.buffer.read(MAX_DOWNLOAD + 1))


def _download(url: str) -> bytes:
    """What is at an address, if it arrives in time. Another thread fetches it, since whatever waits for a server (the
    connection, each header, each part) has only a time limit of its own."""
    from queue import Empty, SimpleQueue
    from threading import Thread

    results: SimpleQueue[bytes | Exception] = SimpleQueue()
    Thread(target=lambda: results.put(_fetched(url)), daemon=True).start()
    try:
        result = results.get(timeout=URL_SECONDS)
    except Empty:
        raise OSError(f"it did not arrive within {URL_SECONDS} seconds") from None
    if isinstance(result, Exception):
        raise result
    return _not_too_large(result)


def _fetched(url: str) -> bytes | Exception:
    """What is at an address, up to a little more than may be used, or why it cannot be had."""
    import http.client
    import urllib.error
    import urllib.request

    try:
        request = urllib.request.Request(url, headers={"User-Agent": "hashcli"})  # some sites refuse Python's own
        with urllib.request.urlopen(request, timeout=URL_SECONDS) as response:
            return bytes(response.read(MAX_DOWNLOAD + 1))
    except urllib.error.HTTPError as error:
        return OSError(f"the server answered {error.code} {error.reason}")
    except urllib.error.URLError as error:
        return OSError(f"no connection ({error.reason})")
    except (http.client.HTTPException, ValueError) as error:
        return OSError(f"the answer cannot be understood ({error})")
    except Exception as error:
        return error


def _not_too_large(content: bytes) -> bytes:
    if len(content) > MAX_DOWNLOAD:
        raise OSError(f"it is larger than {MAX_DOWNLOAD >> 20} MB")
    return content
