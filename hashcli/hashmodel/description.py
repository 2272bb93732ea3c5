"""model.json, which describes a hash model folder."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hashcli.errors import HashcliError

# How a picture becomes a square: the whole is squashed, or the middle is cut out.
Resize = Literal["squash", "crop"]
Interpolation = Literal["bicubic", "bilinear"]

FORMAT = 1
CODE_LENGTHS = range(16, 1025, 8)  # bits
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
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise HashcliError(
                f"{path} is in a format this version of hashcli does not read.",
                "Update hashcli.",
            )
        description = Description(
            **content
            | {
                "image": ImageEncoder(**content["image"]),
                "text": TextEncoder(**content["text"]),
                "metrics": [ReportedMetric(**metric) for metric in content["metrics"]],
                "match": _match(content.get("match")),
            }
        )
    except FileNotFoundError:
        raise HashcliError(f"{folder} is not a hash model: it has no {FILE_NAME}.") from None
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HashcliError(f"{path} is damaged ({error}).", "Copy the hash model folder again.") from error
    if description.bits % 8 or not 16 <= description.bits <= 1024:
        raise HashcliError(f"{path}: bits must be a multiple of 8 from 16 to 1024, not {description.bits}.")
    if description.fingerprint != _fingerprint(content):
        raise HashcliError(f"{path} was changed by hand: its fingerprint does not match.", "Copy the folder again.")
    return description


def _match(content: dict[str, Any] | None) -> MatchThreshold | None:
    if content is None:  # not measured, as for a newly trained model
        return None
    match = MatchThreshold(**content)
    if not isinstance(match.distance, int) or match.distance < 0:
        raise ValueError(f"match.distance must be a number of bits, not {match.distance!r}")
    return match


def verify(folder: Path, description: Description) -> None:
    """Read every encoder file and compare its digest. Raises HashcliError naming the first that differs."""
    for name in description.encoder_files():
        if sha256(folder / name) != description.files.get(name):
            raise HashcliError(
                f"{folder / name} is damaged: its SHA-256 is not the one in {FILE_NAME}.", "Copy it again."
            )


def sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror}.") from error


def _fingerprint(content: dict[str, Any]) -> str:
    """16 hex digits over all that decides a code: the encoders' settings, the bits, and the digests of their files."""
    decisive = {key: content[key] for key in ("bits", "image", "text", "files")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
