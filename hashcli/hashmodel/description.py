"""model.json, which describes a hash model folder."""

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from hashcli.errors import HashcliError
from hashcli.parsing import parse_json
from hashcli.plain_files import open_plain, read_plain

T = TypeVar("T")

# How a picture becomes a square: the whole is squashed, or the middle is cut out.
Resize = Literal["squash", "crop"]
Interpolation = Literal["bicubic", "bilinear"]

FORMAT = 1
CODE_LENGTHS = range(16, 1025, 8)  # bits
_LARGEST_SIDE = 2048  # pixels; those of a batch must fit into memory
_MOST_TOKENS = 1 << 20
FILE_NAME = "model.json"


@dataclass(frozen=True)
class ImageEncoder:
    """`file` is an ONNX graph: `pixels` uint8 [n, size, size, 3] RGB -> `output` float32 [n, bits]."""

    file: str
    size: int
    resize: Resize
    interpolation: Interpolation = "bicubic"


@dataclass(frozen=True)
class TextEncoder:
    """`file` is an ONNX graph: `input_ids`, `attention_mask` int64 [n, tokens] -> `output` float32 [n, bits].

    The graph must be stored optimised: to save time in a query, it is loaded without optimising it.
    """

    file: str
    tokenizer: str
    max_tokens: int


@dataclass(frozen=True)
class ReportedMetric:
    """A metric measured on a dataset, and what chance gives. `value` and `chance` are fractions of 1."""

    name: str
    dataset: str
    value: float
    chance: float


@dataclass(frozen=True)
class MatchThreshold:
    """How near a photo must be to a text query to be worth showing, measured on texts and photos not trained on.

    `distance` is in bits: a photo farther away is unlikely to be what was meant. `miss_rate` is the share of captions
    whose own photo is farther away all the same. `false_alarm_rate` is the share of texts that describe none of
    `photos` photos, and still have one within the distance. It grows with the number of photos searched.
    """

    distance: int
    miss_rate: float
    false_alarm_rate: float
    photos: int


@dataclass(frozen=True)
class Description:
    """The content of model.json. `match` is None for a model on which it was not measured.

    `word_list` names a file of the words, one a line in lower case, that the model knows although its tokenizer splits
    them; it does not know others that are split. None: it knows every word that has tokens. No code depends on it.

    `files` maps each file the encoders read to its SHA-256; `fingerprint` is a digest of `files`, the encoders and
    `bits`. Codes may be compared when the fingerprints of their models are the same.
    """

    name: str
    bits: int
    method: str
    teacher: str
    licence: str
    image: ImageEncoder
    text: TextEncoder
    metrics: list[ReportedMetric] = field(default_factory=list)
    match: MatchThreshold | None = None
    word_list: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""

    def encoder_files(self) -> list[str]:
        """The files that decide a code, among them the weights that a large graph keeps in a file of their own."""
        always = self._always()
        return always + [name for name in self.files if name not in always]

    def _always(self) -> list[str]:
        return [self.image.file, self.text.file, self.text.tokenizer]

    def write(self, folder: Path) -> "Description":
        """Write model.json beside the files it describes; returns it with digests and fingerprint filled in."""
        weights = [external_data(folder / graph) for graph in (self.image.file, self.text.file)]
        names = self._always() + [path.name for path in weights if path.is_file()]
        content = asdict(self) | {"files": {name: sha256(folder / name) for name in names}}
        if self.image.interpolation == "bicubic":  # unnamed, as before there was another: fingerprints stay the same
            del content["image"]["interpolation"]
        content["fingerprint"] = _fingerprint(content)
        text = json.dumps({"format": FORMAT, **content}, indent=2, ensure_ascii=False)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")
        return read(folder)


def external_data(graph: Path) -> Path:
    """The file beside a graph that holds its weights, if they are too large to be in the graph."""
    return graph.with_name(f"{graph.name}.data")


def read(folder: Path) -> Description:
    """Read and check model.json. Raises HashcliError naming the folder when it is missing, damaged or too new."""
    path = folder / FILE_NAME
    try:
        content: dict[str, Any] = parse_json(read_plain(path).decode())
        if content.pop("format") != FORMAT:
            raise HashcliError(
                f"{path} is in a format this version of hashcli does not read.",
                "Update hashcli.",
            )
        metrics, match = content["metrics"], content.get("match")
        description = _built(
            Description,
            content
            | {
                "image": _built(ImageEncoder, content["image"]),
                "text": _built(TextEncoder, content["text"]),
                "metrics": [_built(ReportedMetric, metric) for metric in metrics],
                "match": None if match is None else _built(MatchThreshold, match),  # None: not measured
            },
        )
        _check(description)
    except FileNotFoundError:
        raise HashcliError(f"{folder} is not a hash model: it has no {FILE_NAME}.") from None
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HashcliError(f"{path} is damaged ({error}).", "Copy the hash model folder again.") from error
    if description.fingerprint != _fingerprint(content):
        raise HashcliError(f"{path} was changed by hand: its fingerprint does not match.", "Copy the folder again.")
    return description


def _built(kind: type[T], content: dict[str, Any]) -> T:
    """A dataclass from what JSON holds for it. Raises TypeError for values of other types than its fields have."""
    built = kind(**content)
    for own in fields(built):  # type: ignore[arg-type]
        value, allowed = getattr(built, own.name), own.type
        if allowed in (str, int):
            is_allowed = type(value) is allowed
        elif allowed is float:
            is_allowed = type(value) in (int, float) and math.isfinite(value)
        elif get_origin(allowed) is Literal:
            is_allowed = value in get_args(allowed)
        else:
            continue  # built already
        if not is_allowed:
            raise TypeError(f"{own.name} is {value!r:.40}")
    return built


def _check(description: Description) -> None:
    """Raise ValueError for values that no hash model has, and for files outside its folder."""
    if description.bits not in CODE_LENGTHS:
        raise ValueError(f"bits must be a multiple of 8 from 16 to 1024, not {description.bits}")
    if not 1 <= description.image.size <= _LARGEST_SIDE:
        raise ValueError(f"image.size must be from 1 to {_LARGEST_SIDE} pixels, not {description.image.size}")
    if not 1 <= description.text.max_tokens <= _MOST_TOKENS:
        raise ValueError(f"text.max_tokens must be from 1 to {_MOST_TOKENS}, not {description.text.max_tokens}")
    if description.match and description.match.distance < 0:
        raise ValueError(f"match.distance must be a number of bits, not {description.match.distance}")
    if not all(isinstance(digest, str) for digest in description.files.values()):
        raise ValueError("files must map names to digests")
    if description.word_list is not None and not isinstance(description.word_list, str):
        raise ValueError(f"word_list is {description.word_list!r:.40}")
    listed = [] if description.word_list is None else [description.word_list]
    for name in [*description.encoder_files(), *listed]:
        if name in ("", ".", "..") or "\0" in name or os.path.basename(name) != name:
            raise ValueError(f"{name!r:.40} is not the name of a file in its folder")


def verify(folder: Path, description: Description) -> None:
    """Read every encoder file and compare its digest. Raises HashcliError naming the first that differs."""
    for name in description.encoder_files():
        if sha256(folder / name) != description.files.get(name):
            raise HashcliError(
                f"{folder / name} is damaged: its SHA-256 is not the one in {FILE_NAME}.", "Copy it again."
            )


def sha256(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror}.") from error


def _fingerprint(content: dict[str, Any]) -> str:
    """16 hex digits over all that decides a code: the encoders' settings, the bits, and the digests of their files."""
    decisive = {key: content[key] for key in ("bits", "image", "text", "files")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
