"""The plan of a run, which run.py and unpaired.py carry out."""

from dataclasses import dataclass
from pathlib import Path

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.settings import Settings


@dataclass(frozen=True)
class RunSource:
    """What else a run was started with: run.json keeps it, so that the folder alone is enough to resume the run.

    `dataset` is a dataset's name, or the absolute path of one's own; `root` and `update` are absolute paths.
    `protocol` is None for the dataset's first.
    """

    dataset: str
    root: str | None = None
    protocol: str | None = None
    update: str | None = None
    baselines: bool = False


@dataclass(frozen=True)
class RunPlan:
    """What a run trains on, how, and where it is kept.

    `out` is the run folder and `cache` the folder of features. With `resume`, the run in `out` goes on if there is one.
    With `update`, the hash model in that folder learns the new data; `settings` are then resolved with the model's
    settings as their base. With `baselines`, untrained codes are evaluated as well. `source` is for run.json alone.
    """

    dataset: ImageTextDataset
    split: Split
    settings: Settings
    out: Path
    cache: Path
    resume: bool = False
    baselines: bool = False
    update: Path | None = None
    source: RunSource | None = None
