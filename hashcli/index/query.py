"""What is looked for: words and photos, each with a weight, as one point in the space of a hash model's outputs."""

import sys
import time
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from hashcli.errors import HashcliError, did_you_mean_path, reason_of
from hashcli.hashmodel.model import HashModel

URL_SECONDS = 20
MAX_DOWNLOAD = 64 << 20  # bytes


class Part(NamedTuple):
    """One thing that is looked for: `what` is words, or where a photo is: a path, a URL or `-` for stdin.

    What a negative weight stands for is looked away from.
    """

    what: str
    is_image: bool
    weight: float = 1.0


class Query(NamedTuple):
    """Things to be found together in one item. `name` is how answers refer to it."""

    name: str
    parts: tuple[Part, ...]

    @property
    def photos(self) -> tuple[str, ...]:
        """Where its photos are."""
        return tuple(part.what for part in self.parts if part.is_image)

    @property
    def is_words(self) -> bool:
        """Whether it is made of words alone, and of none to keep away from."""
        return all(part.weight > 0 and not part.is_image for part in self.parts)


def encode(model: HashModel, queries: Sequence[Query]) -> list[np.ndarray | HashcliError]:
    """A float output [bits] for each query, or why it has none.

    The parts' outputs are brought to equal length, weighted and added, before any sign is taken: our choice, so that a
    photo and words pull equally. A query of one part keeps its output as it is.
    """
    texts = list(dict.fromkeys(part.what for query in queries for part in query.parts if not part.is_image))
    of_text = dict(zip(texts, model.encode_texts(texts), strict=True))
    answers: list[np.ndarray | HashcliError] = []
    for query in queries:
        try:
            outputs = [_image_output(model, part.what) if part.is_image else of_text[part.what] for part in query.parts]
            answers.append(_combined(outputs, [part.weight for part in query.parts]))
        except HashcliError as error:
            answers.append(error)
    return answers


def _combined(outputs: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    if len(outputs) == 1 and weights[0] > 0:
        return outputs[0]
    units = np.array([output / np.linalg.norm(output) for output in outputs])  # [parts, bits]
    combined = np.asarray(np.array(weights, np.float32) @ units)
    if np.linalg.norm(combined) < 1e-3 * np.abs(weights).max():
        raise HashcliError("The parts of the query cancel each other.", "Look for something else than is kept away.")
    return combined


def _image_output(model: HashModel, where: str) -> np.ndarray:
    from hashcli.hashmodel.images import UnreadableImageError

    try:
        if where == "-" or _is_url(where):
            import tempfile
            from urllib.parse import urlsplit

            content = _read_stdin() if where == "-" else _download(where)
            with tempfile.NamedTemporaryFile(suffix=PurePosixPath(urlsplit(where).path).suffix) as file:
                file.write(content)
                file.flush()
                pixels = model.load_pixels(file.name)
        else:
            pixels = model.load_pixels(where)
    except (UnreadableImageError, OSError, ValueError) as error:  # ValueError: an address that is none
        shown = "The photo on stdin" if where == "-" else where
        like = did_you_mean_path(where) if isinstance(error, FileNotFoundError) else ""
        unreadable = isinstance(error, UnreadableImageError)
        remedy = "in a format such as JPEG, PNG or WebP" if unreadable else "by its file or address, or - for stdin"
        raise HashcliError(f"{shown} cannot be read: {reason_of(error)}.{like}", f"Give a photo {remedy}.") from error
    (output,) = model.encode_pixels(pixels[None])
    return np.asarray(output)


def _is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


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
                    raise OSError(f"it did not come within {URL_SECONDS} seconds")
    except urllib.error.HTTPError as error:
        raise OSError(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise OSError(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer that can be understood ({error})") from error
    return _not_too_large(content)


def _not_too_large(content: bytes) -> bytes:
    if len(content) > MAX_DOWNLOAD:
        raise OSError(f"it is larger than {MAX_DOWNLOAD >> 20} MB")
    return content
