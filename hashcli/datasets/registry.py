"""The datasets by name, and the user's own by path."""

from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from hashcli.datasets import coco, custom, flickr8k, iapr, mirflickr, nuswide, synthetic
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.errors import HashcliError, did_you_mean, did_you_mean_path

DATASETS: dict[str, Callable[[Path], ImageTextDataset]] = {
    "coco": coco.load,
    "flickr8k": flickr8k.load,
    "iapr": iapr.load,
    "mirflickr": mirflickr.load,
    "nuswide10": nuswide.load_10,
    "nuswide21": nuswide.load_21,
    "synthetic": synthetic.load,
}


OF_PROTOCOL = {("mirflickr", "mir-d"): mirflickr.load_all}  # where a protocol takes other pairs


def load_dataset(name: str, root: Path | None = None, protocol: str | None = None) -> ImageTextDataset:
    """A dataset from its official files below `root`; or, where `name` is a path, from a list or a folder of one's own.

    Raises HashcliError when they are not there.
    """
    if name in DATASETS:
        if root is None and name == "synthetic":
            root = user_cache_path("hashcli")
        if root is None:
            raise HashcliError(f"{name}: where is it?", "Give --root, the folder that holds its official files.")
        return OF_PROTOCOL.get((name, (protocol or "").lower()), DATASETS[name])(root)
    path = Path(name).expanduser()
    if not path.exists():
        like = did_you_mean(name, DATASETS) or did_you_mean_path(name)
        raise HashcliError(
            f"There is no dataset {name!r}, and no such file or folder.{like}",
            f"Datasets: {', '.join(sorted(DATASETS))}. Your own: a .jsonl or .csv file, or a folder of photos.",
        )
    return custom.load(path)
