"""All that decides a run, in one place: defaults here, a TOML file over them, flags over both."""

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hashcli.errors import HashcliError

METHODS = ("soda", "ckdh", "lcdh")
TUNING = ("head", "last", "full")


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of all methods. The weights are ours: the papers' are not public."""

    method: str = "soda"
    teacher: str = "ViT-B-32/datacomp_xl_s13b_b90k"
    student: str = "lite-256"  # image backbone
    text: str = "bag"  # of words; or a hash model, for its text tower
    bits: tuple[int, ...] = (64,)
    seed: int = 0

    epochs: int = 30
    batch: int = 128
    learning_rate: float = 1e-3
    device: str = "auto"  # cuda where there is one
    hidden: int = 512
    dropout: float = 0.1
    words: int = 1386  # at most, of the bag of words: MIRFlickr's number
    neighbours: float = 0.05  # the share of pairs that count as similar where there are no labels

    # tuning of the image towers before their features are taken: "head" (frozen), "last" (block) or "full"
    tune_teacher: str = "head"
    tune_student: str = "head"
    tune_epochs: int = 3
    tune_batch: int = 32
    tune_learning_rate: float = 1e-5

    # soda
    prompt: str = "a photo of {}."  # "none": the class names alone
    two_stages: bool = True  # False: image, label and text at once
    gap: float = 1.0
    quantisation: float = 0.1
    balance: float = 0.01
    instance: float = 1.0
    relation: float = 1.0

    # ckdh
    graph_attention: bool = True
    graph_neighbours: int = 10
    likelihood: float = 1.0
    intra: float = 0.5
    inter: float = 1.0
    kappa: float = 0.5  # how sharply the teacher's similarity becomes a probability

    # lcdh
    attention: bool = True
    rounds: int = 5
    anchors: int = 500
    passes: int = 10  # over each round's chunk
    teacher_share: float = 0.5  # beta: 1 is the teacher alone, 0 labels alone
    lambda1: float = 0.5
    lambda2: float = 0.5

    distil: bool = True  # False: the ablation without a teacher, for every method

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"bits": list(self.bits)}


def resolve(file: Path | None, settings: Sequence[str] = (), base: Config | None = None, **flags: Any) -> Config:
    """Defaults (or `base`), then the TOML file, then settings as NAME=VALUE, then the flags that are not None.

    Raises HashcliError naming what is not known.
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
    config = _with(config, {name: value for name, value in flags.items() if value is not None}, "the command line")
    if config.method not in METHODS:
        raise HashcliError(f"There is no method {config.method!r}.", f"Methods: {', '.join(METHODS)}.")
    for name in ("tune_teacher", "tune_student"):
        if getattr(config, name) not in TUNING:
            raise HashcliError(f"{name} {getattr(config, name)!r} will not do.", f"One of: {', '.join(TUNING)}.")
    for bits in config.bits:
        if bits % 8 or not 16 <= bits <= 1024:
            raise HashcliError(f"--bits {bits} will not do.", "Give multiples of 8 from 16 to 1024.")
    return config


def _with(config: Config, settings: dict[str, Any], source: str) -> Config:
    kinds = {field.name: type(getattr(config, field.name)) for field in fields(config)}
    for name, value in settings.items():
        if name not in kinds:
            raise HashcliError(f"{source}: there is no setting {name!r}.", f"Settings: {', '.join(kinds)}.")
        if kinds[name] is tuple:
            settings = settings | {name: tuple(value if isinstance(value, list | tuple) else [value])}
        elif kinds[name] is float and isinstance(value, int):
            settings = settings | {name: float(value)}
        elif not isinstance(value, kinds[name]):
            raise HashcliError(f"{source}: {name} must be {kinds[name].__name__}, not {value!r}.")
    return replace(config, **settings)
