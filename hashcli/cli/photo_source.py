"""A photo to search by, as people give it: a path, an http(s) address, or `-` for one on stdin."""

import sys
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hashcli.errors import HashcliError, reason_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from hashcli.hashmodel.model import HashModel

URL_SECONDS = 20
MAX_DOWNLOAD = 64 << 20  # bytes


def open_photo(where: str, model: "HashModel") -> "str | Image":
    """A path as it is, for the library to read; what stdin or an address holds as an image of the model's size.

    Raises HashcliError that names the source when it cannot be read.
    """
    if where != "-" and not where.startswith(("http://", "https://")):
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
    import http.client
    import urllib.error
    import urllib.request

    started = time.monotonic()
    request = urllib.request.Request(url, headers={"User-Agent": "hashcli"})  # some sites refuse Python's own
    try:
        with urllib.request.urlopen(request, timeout=URL_SECONDS) as response:
            content = b""
            while len(content) <= MAX_DOWNLOAD and (part := response.read1(1 << 20)):
                content += part
                if time.monotonic() - started > URL_SECONDS:
                    raise OSError(f"it did not arrive within {URL_SECONDS} seconds")
    except urllib.error.HTTPError as error:
        raise OSError(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise OSError(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"the answer cannot be understood ({error})") from error
    return _not_too_large(content)


def _not_too_large(content: bytes) -> bytes:
    if len(content) > MAX_DOWNLOAD:
        raise OSError(f"it is larger than {MAX_DOWNLOAD >> 20} MB")
    return content
