"""What is looked for: words and photos, each with a weight, as one point in the space of a hash model's outputs."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from hashcli.errors import HashcliError, did_you_mean_path, reason_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from hashcli.hashmodel.model import HashModel

    Photo = str | os.PathLike[str] | Image  # its path, or the photo itself
    Photos = Photo | Iterable[Photo | tuple[Photo, float]]
    Texts = str | Iterable[str | tuple[str, float]]


class QueryPart(NamedTuple):
    """One part of a query: words, or a photo. With a negative weight, it is to be kept away from."""

    content: "Photo"
    is_image: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """Words and photos to be found together in one item, and others to keep away from.

    Each entry is a text, or for photos a path or an opened PIL image; or a tuple of one of these and its weight, which
    is 1 otherwise. A single entry without a weight needs no list. `output`, a hash model's float output [bits], takes
    the place of all entries. `name` is how results refer to the query; by default it is made of the entries.

        Query(texts=["a dog", ("snow", 2.0)], images=["beach.jpg"], without_texts=["a person"])

    Raises HashcliError when there is nothing to look for, for an entry of another type, and for a weight that is not
    above 0.
    """

    texts: "Texts" = ()
    images: "Photos" = ()
    without_texts: "Texts" = ()
    without_images: "Photos" = ()
    output: "np.ndarray | None" = field(default=None, compare=False)
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("texts", "images", "without_texts", "without_images"):
            object.__setattr__(self, name, _entries(getattr(self, name)))
        parts = self.parts
        if self.output is not None:
            object.__setattr__(self, "output", _numbers(self.output))
            if parts:
                raise HashcliError("A query with an output of its own takes no texts and no images.")
        elif not any(part.weight > 0 for part in parts):
            raise HashcliError("There is nothing to look for.", "Give the query a text or an image.")
        if not all(_is_given(part.content) for part in parts):
            raise HashcliError("There is nothing to look for: a part of the query is empty.")
        if not self.name:
            wanted = " + ".join(_shown(part) for part in parts if part.weight > 0)
            unwanted = "".join(f" - {_shown(part)}" for part in parts if part.weight < 0)
            object.__setattr__(self, "name", wanted + unwanted or "an output")

    @property
    def parts(self) -> tuple[QueryPart, ...]:
        """All entries, texts before images, what is looked for before what is kept away from."""
        return (
            *_parts(self.texts, is_image=False, sign=1),
            *_parts(self.images, is_image=True, sign=1),
            *_parts(self.without_texts, is_image=False, sign=-1),
            *_parts(self.without_images, is_image=True, sign=-1),
        )

    @property
    def photos(self) -> tuple[str, ...]:
        """The paths of its photos, of those to keep away from too."""
        contents = (part.content for part in self.parts if part.is_image)
        return tuple(os.fspath(content) for content in contents if isinstance(content, str | os.PathLike))

    @property
    def is_words(self) -> bool:
        """Whether it is made of words alone, with none to keep away from."""
        return self.output is None and all(part.weight > 0 and not part.is_image for part in self.parts)


@dataclass(frozen=True)
class EncodedQuery:
    """The float output [bits] of a query, and the words in it that the hash model does not know.

    A text without a known word is left out. The output is None if that leaves nothing to look for.
    """

    output: "np.ndarray | None"
    unknown_words: tuple[str, ...] = ()


def encode(model: "HashModel", queries: Sequence[Query]) -> list[EncodedQuery | HashcliError]:
    """Each query encoded, or why it cannot be.

    The outputs of the parts are brought to equal length, weighted and added before any sign is taken, so that a photo
    and words pull equally (our choice). A query of one part keeps its output as it is.
    """
    texts = list(dict.fromkeys(str(part.content) for query in queries for part in query.parts if not part.is_image))
    known = {text: model.known_words(text) for text in texts}
    texts = [text for text in texts if known[text].any_known]
    output_of_text = dict(zip(texts, model.encode_texts(texts), strict=True))
    encoded: list[EncodedQuery | HashcliError] = []
    for query in queries:
        in_texts = [known[str(part.content)].unknown for part in query.parts if not part.is_image]
        unknown = tuple(dict.fromkeys(word for words in in_texts for word in words))
        parts = [part for part in query.parts if part.is_image or str(part.content) in output_of_text]
        if not any(part.weight > 0 for part in parts):
            encoded.append(EncodedQuery(None, unknown))
            continue
        try:
            outputs = [
                _image_output(model, part.content) if part.is_image else output_of_text[str(part.content)]
                for part in parts
            ]
            encoded.append(EncodedQuery(_combined(outputs, [part.weight for part in parts]), unknown))
        except HashcliError as error:
            encoded.append(error)
    return encoded


def _entries(given: "Photos | Texts") -> tuple[Any, ...]:
    """A single entry, or all entries of an iterable, which might be a generator that can be read only once."""
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | os.PathLike):
        return tuple(given)
    return (given,)


def _parts(given: "Photos | Texts", *, is_image: bool, sign: int) -> Iterator[QueryPart]:
    for entry in _entries(given):
        content, weight = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, 1.0)
        if not _can_be_encoded(content, is_image=is_image):
            raise HashcliError(
                f"{content!r:.60} in a query is not {'a path or an open image' if is_image else 'a text'}.",
                'A weight is given in a tuple with its entry, such as [("snow", 2.0)].',
            )
        if not (isinstance(weight, Real) and 0 < float(weight) < inf):
            raise HashcliError(
                f"The weight {weight} of {content} is not a number above 0.",
                "Use without_texts or without_images to steer away from something.",
            )
        yield QueryPart(content, is_image, sign * float(weight))


def _can_be_encoded(content: object, *, is_image: bool) -> bool:
    if isinstance(content, str) or not is_image:
        return isinstance(content, str)
    if isinstance(content, os.PathLike):
        return True
    from PIL import Image  # for an open image, it is loaded already

    return isinstance(content, Image.Image)


def _numbers(output: object) -> "np.ndarray":
    import numpy as np

    try:
        return np.asarray(output, np.float32)
    except (TypeError, ValueError) as error:
        raise HashcliError(f"The query's output is not an array of numbers: {error}.") from error


def _is_given(content: object) -> bool:
    return bool(os.fspath(content).strip()) if isinstance(content, str | os.PathLike) else True


def _shown(part: QueryPart) -> str:
    return os.fspath(part.content) if isinstance(part.content, str | os.PathLike) else "a photo"


def _combined(outputs: "Sequence[np.ndarray]", weights: Sequence[float]) -> "np.ndarray":
    import numpy as np

    if len(outputs) == 1 and weights[0] > 0:
        return outputs[0]
    units = np.array([output / np.linalg.norm(output) for output in outputs])  # [parts, bits]
    combined = np.asarray(np.array(weights, np.float32) @ units)
    if np.linalg.norm(combined) < 1e-3 * np.abs(weights).max():
        raise HashcliError(
            "The parts of the query cancel each other.", "Do not steer away from what you are looking for."
        )
    return combined


def _image_output(model: "HashModel", photo: "Photo") -> "np.ndarray":
    import numpy as np

    from hashcli.hashmodel.formats import UnreadableImageError
    from hashcli.hashmodel.images import copied

    try:
        if isinstance(photo, str | os.PathLike):
            pixels = model.load_pixels(os.path.expanduser(photo))
        else:
            pixels = model.pixels_of(copied(photo))
    except UnreadableImageError as error:
        raise HashcliError(
            f"{_name(photo)} cannot be read: {reason_of(error)}.", "Give a photo in a format such as JPEG, PNG or WebP."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        like = did_you_mean_path(_name(photo)) if isinstance(error, FileNotFoundError) else ""
        raise HashcliError(
            f"{_name(photo)} cannot be read: {reason_of(error)}.{like}", "Give the path of a photo."
        ) from error
    (output,) = model.encode_pixels(pixels[None])
    return np.asarray(output)


def _name(photo: "Photo") -> str:
    return os.fspath(photo) if isinstance(photo, str | os.PathLike) else "The photo"
