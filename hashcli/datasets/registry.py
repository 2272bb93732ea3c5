"""The datasets by name, and your own by path. A new dataset is a file of its own and one line here."""

from dataclasses import replace
from pathlib import Path

from hashcli.datasets import coco, custom, flickr, iapr, matlab, mirflickr, nuswide, synthetic, wikipedia
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.homes import find_root, home_of
from hashcli.datasets.source import DatasetSource, Protocol
from hashcli.errors import HashcliError, did_you_mean, did_you_mean_path

DATASETS: dict[str, DatasetSource] = {
    source.name: source
    for source in (
        coco.SOURCE,
        flickr.SOURCE_8K,
        flickr.SOURCE_30K,
        iapr.SOURCE,
        matlab.SOURCE,
        mirflickr.SOURCE,
        nuswide.SOURCE_10,
        nuswide.SOURCE_21,
        synthetic.SOURCE,
        wikipedia.SOURCE,
    )
}


class RootMissingError(HashcliError):
    """A dataset needs the folder of its official files: none was given, and it is neither at home nor where it was."""

    def __init__(self, name: str, root: Path, home: Path) -> None:
        where = "where its files belong" if root == home else "where it was when it was last used"
        super().__init__(
            f"{name} is not in {root}, {where}.", "Put its files there, or give the root folder that holds them."
        )
        self.home = home


def load_dataset(
    name: str, root: str | Path | None = None, protocol: str | None = None, *, without_texts: bool = False
) -> ImageTextDataset:
    """A dataset from its official files below `root`; or, where `name` is a path, from a list or folder of your own.

    Without a root, it is looked for in its home, the folder datasets/NAME of hashcli's data folder, or where
    `remember_root` has recorded that it is.

    A protocol may keep other pairs than the others do; it is matched without regard to case. With `without_texts`, a
    folder of your own may hold photos without texts: theirs are empty lists. Raises HashcliError when there is no such
    dataset, and naming the files that are missing.

        dataset = load_dataset("mirflickr", "~/data/mirflickr25k", "MIR-D")
        dataset = load_dataset("holiday/captions.csv")
    """
    if name not in DATASETS:
        return _load_custom(name, without_texts=without_texts)
    source = DATASETS[name]
    if root is None:
        root = source.default_root() if source.default_root else find_root(source)
        if not root.is_dir() and not source.default_root:
            raise RootMissingError(name, root, home_of(source))
    chosen = find_protocol(name, protocol) if source.protocols else None
    load = chosen.load if chosen and chosen.load else source.load
    dataset = load(Path(root).expanduser())
    if chosen and chosen.texts is not None:
        dataset = replace(dataset, searched=chosen.texts)
    return dataset


def find_protocol(dataset_name: str, name: str | None) -> Protocol | None:
    """A dataset's protocol by its name in any case, or its first; None for a dataset without protocols.

    Raises HashcliError when the dataset has no protocol of that name.
    """
    known = DATASETS[dataset_name].protocols if dataset_name in DATASETS else ()
    if name is None:
        return known[0] if known else None
    for protocol in known:
        if protocol.name.lower() == name.lower():
            return protocol
    names = ", ".join(protocol.name for protocol in known)
    raise HashcliError(
        f"{dataset_name} has no protocol {name!r}.",
        f"It has {names}." if known else "It has no protocols to choose from.",
    )


def _load_custom(name: str, *, without_texts: bool) -> ImageTextDataset:
    path = Path(name).expanduser()
    if not path.exists():
        like = did_you_mean(name, DATASETS) or did_you_mean_path(name)
        raise HashcliError(
            f"There is no dataset {name!r}, and no such file or folder.{like}",
            f"Datasets: {', '.join(sorted(DATASETS))}. Your own: a .jsonl or .csv file, or a folder of photos.",
        )
    return custom.load(path, without_texts=without_texts)
