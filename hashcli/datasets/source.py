"""How a dataset is made available by name: its loader, the protocols the field splits it by, and its downloads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hashcli.datasets.dataset import ImageTextDataset

Loader = Callable[[Path], ImageTextDataset]  # from the root folder, which holds the official files


@dataclass(frozen=True)
class Protocol:
    """Sizes of a random split of `pairs` photos into a query set and a database, which is all the rest. The training
    set is drawn from the database. `papers` are those that use the protocol.

    With `per_label` (query, train), both sets are drawn label by label: that many photos of each label, and twice as
    many of the first label. The training set is then filled up to `train` from all photos that are left.

    `load` reads the dataset where this protocol keeps other pairs than the dataset's own loader does. Of each photo,
    only the first `texts` are evaluated, if that is not None; of a training photo, all are trained on.

    Where the dataset has its publisher's parts, these decide and the sizes only inform. The test part is then divided
    into `folds` of equal size in the order of the dataset, and the seed, modulo their number, chooses one as query set.

    `legacy` draws the rows as published code does that calls `numpy.random.seed(seed)` and
    `numpy.random.permutation(count)`: the first are the query set, and the next the training set.
    """

    name: str
    pairs: int
    query: int
    train: int
    papers: str
    per_label: tuple[int, int] | None = None
    load: Loader | None = None
    texts: int | None = None
    folds: int = 1
    legacy: bool = False


@dataclass(frozen=True)
class Archive:
    """A file that the publisher offers. `into` is the folder its content belongs in, whether or not the archive has
    that folder itself. `md5` is None where no checksum is known.
    """

    url: str
    into: str = ""
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DatasetSource:
    """A dataset that can be chosen by its name. One is defined in each dataset's file and listed in the registry.

    `load` gets the root folder. The first of `protocols` is the default one; without any, a dataset is split by its
    publisher's parts, or else as custom data are. `archives` is empty where the publisher does not offer the files
    freely. `default_root` is for a dataset that needs no files of a publisher. `folder` names its home where several
    datasets are read from the same files.
    """

    name: str
    load: Loader
    protocols: tuple[Protocol, ...] = ()
    archives: tuple[Archive, ...] = ()
    default_root: Callable[[], Path] | None = None
    folder: str = ""
