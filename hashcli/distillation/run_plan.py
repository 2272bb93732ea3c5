"""The plan of a run, which run.py and unpaired.py carry out."""

from dataclasses import dataclass
from pathlib import Path

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.settings import Settings


@dataclass(frozen=True)
class RunPlan:
    """What a run trains on, how, and where it is kept.

    `out` is the run folder and `cache` the folder of features. With `resume`, the run in `out` goes on if there is one.
    With `update`, the hash model in that folder learns the new data; `settings` are then resolved with the model's
    settings as their base. With `baselines`, untrained codes are evaluated as well.
    """

    dataset: ImageTextDataset
    split: Split
    settings: Settings
    out: Path
    cache: Path
    resume: bool = False
    baselines: bool = False
    update: Path | None = None
