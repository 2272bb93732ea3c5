"""All that decides a run, in one place: defaults here, a TOML file over them, flags over both."""

import tomllib
from collections.abc import Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hashcli.errors import HashcliError, did_you_mean

METHODS = ("soda", "ckdh", "lcdh")
TUNING = ("head", "last", "full")


def _number(default: float, least: float, most: float) -> Any:
    """A setting from `least` to `most`."""
    return field(default=default, metadata={"least": least, "most": most})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of all methods. The weights are ours: the papers' are not public."""

    method: str = _choice("soda", *METHODS)
    teacher: str = "ViT-B-32/datacomp_xl_s13b_b90k"
    student: str = "lite-256"  # image backbone
    text: str = "bag"  # of words; or a hash model, for its text tower
    bits: tuple[int, ...] = (64,)
    seed: int = _number(0, 0, 2**32 - 1)

    epochs: int = _number(30, 1, 10**6)
    batch: int = _number(128, 2, 10**6)
    learning_rate: float = _number(1e-3, 1e-8, 1)
    validate_every: int = _number(1, 0, 10**6)  # epochs; 0: at the end of each stage alone
    device: str = _choice("auto", "auto", "cpu", "cuda")  # auto: cuda where there is one
    precision: str = _choice("auto", "auto", "float32", "bfloat16")  # of an open_clip teacher; auto: bfloat16 on cuda
    hidden: int = _number(512, 1, 10**5)
    dropout: float = _number(0.1, 0, 0.99)
    words: int = _number(1386, 1, 10**6)  # at most, of the bag of words: MIRFlickr's number
    vocabulary: str = ""  # a file of the bag's words, one a line; without it, those of most training texts
    # The share of pairs that count as similar where there are no labels. On Flickr8k's validation photos CKDH did as
    # well by 0 as by 0.01 and worse by 0.05, its ablation better the more there were, both by losses not yet balanced.
    neighbours: float = _number(0.01, 0, 1)

    # fine-tuning of the image towers: none, the "last" block or "full"; the teacher's by CKDH alone
    tune_teacher: str = _choice("head", *TUNING)
    tune_student: str = _choice("head", *TUNING)
    tune_epochs: int = _number(3, 1, 10**6)  # of the student's tower
    tune_batch: int = _number(32, 2, 10**6)
    tune_learning_rate: float = _number(1e-5, 1e-10, 1)  # of both

    # soda
    prompt: str = "a photo of {}."  # {} stands for the labels
    # what the label network sees: one sentence of all labels, their names alone, the mean of a sentence for each label,
    # or the classes as 0 and 1
    label_input: str = _choice("prompt", "prompt", "names", "mean", "classes")
    two_stages: bool = True  # False: image, label and text at once
    gap: float = _number(1.0, 0, 1e6)
    balance: float = _number(0.01, 0, 1e6)
    instance: float = _number(1.0, 0, 1e6)
    relation: float = _number(1.0, 0, 1e6)

    # ckdh
    graph_attention: bool = True
    graph_neighbours: int = _number(10, 1, 10**6)
    likelihood: float = _number(1.0, 0, 1e6)
    intra: float = _number(0.5, 0, 1e6)
    inter: float = _number(1.0, 0, 1e6)
    kappa: float = _number(0.5, 0, 1e3)  # how sharply the teacher's similarity becomes a probability

    # lcdh
    attention: bool = True
    rounds: int = _number(5, 1, 10**6)
    anchors: int = _number(500, 1, 10**6)  # of LCDH's stream, and kept with every student for --update
    round_steps: int = _number(200, 1, 10**6)  # batches in each round, so that a small round has more passes
    teacher_share: float = _number(0.5, 0, 1)  # beta: 1 is the teacher alone, 0 labels alone
    lambda1: float = _number(0.5, 0, 1e6)
    lambda2: float = _number(0.5, 0, 1e6)

    # several methods
    quantisation: float = _number(0.1, 0, 1e6)
    keep: float = _number(10.0, 0, 1e6)  # of an update: how strongly old items' codes are to stay
    contrast: float = _number(0.1, 0, 1e6)  # of LCDH's teacher, and of a tower that is tuned
    distil: bool = True  # False: the ablation without a teacher, for every method

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"bits": list(self.bits)}


def resolve(file: Path | None, settings: Sequence[str] = (), base: Config | None = None, **flags: Any) -> Config:
    """Defaults (or `base`), then the TOML file, then settings as NAME=VALUE, then the flags that are not None.

    Raises HashcliError naming a setting that is not known, or a value that will not do and what would.
    """
    config = base or Config()
    if file:
        try:
            config = _with(config, tomllib.loads(file.read_text(encoding="utf-8")), str(file))
        except OSError as error:
            raise HashcliError(f"{file} cannot be read: {error.strerror}.") from error
        except tomllib.TOMLDecodeError as error:
            raise HashcliError(f"{file} is not TOML: {error}.") from error
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            config = _with(config, tomllib.loads(f"{name} = {value}"), f"--set {setting}")
        except tomllib.TOMLDecodeError:  # a word without quotes
            config = _with(config, {name: value}, f"--set {setting}")
    return _with(config, {name: value for name, value in flags.items() if value is not None}, "the command line")


def _with(config: Config, settings: dict[str, Any], source: str) -> Config:
    known = {one.name: one for one in fields(config)}
    checked = {}
    for name, value in settings.items():
        if name not in known:
            like = did_you_mean(name, known)
            raise HashcliError(
                f"{source}: there is no setting {name!r}.{like}", "" if like else f"Settings: {', '.join(known)}."
            )
        try:
            checked[name] = _checked(known[name], value)
        except ValueError as error:
            raise HashcliError(f"{source}: {name} must be {error}, not {value!r}.") from None
    return replace(config, **checked)


def _checked(known: Field[Any], value: Any) -> Any:
    """The value for a setting. Raises ValueError that says what it must be."""
    if known.name == "bits":
        lengths = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not lengths or not all(type(one) is int and one % 8 == 0 and 16 <= one <= 1024 for one in lengths):
            raise ValueError("multiples of 8 from 16 to 1024")
        return tuple(dict.fromkeys(lengths))
    kind = type(known.default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError({int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind])
    if known.name == "prompt" and str(value).count("{}") != 1:
        raise ValueError("a sentence with one {} for the labels")
    limits = known.metadata
    if "least" in limits and not limits["least"] <= value <= limits["most"]:
        raise ValueError(f"from {limits['least']:g} to {limits['most']:g}")
    if "choices" in limits and value not in limits["choices"]:
        raise ValueError(f"one of {', '.join(limits['choices'])}")
    return value
