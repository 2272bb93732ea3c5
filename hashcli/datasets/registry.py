"""The datasets by name."""

from collections.abc import Callable
from pathlib import Path

from hashcli.datasets import flickr8k, mirflickr
from hashcli.datasets.pairs import Pairs
from hashcli.errors import HashcliError

DATASETS: dict[str, Callable[[Path], Pairs]] = {"flickr8k": flickr8k.load, "mirflickr": mirflickr.load}


def load_dataset(name: str, root: Path) -> Pairs:
    """A dataset from its official files below `root`. Raises HashcliError when they are not there."""
    if name not in DATASETS:
        raise HashcliError(f"There is no dataset {name!r}.", f"Datasets: {', '.join(sorted(DATASETS))}.")
    return DATASETS[name](root)
