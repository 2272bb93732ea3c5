"""Where datasets are kept: each has a home in the data folder of the user, or a folder elsewhere that is remembered."""

import os
from pathlib import Path

from platformdirs import user_data_path

from hashcli.datasets.source import DatasetSource


def home_of(source: DatasetSource) -> Path:
    """The folder that a dataset is looked for in, and downloaded to, where no other is given. It need not exist."""
    return user_data_path("hashcli") / "datasets" / (source.folder or source.name)


def find_root(source: DatasetSource) -> Path:
    """The root folder of a dataset: what `remember_root` was last called with, else its home. It need not exist."""
    try:
        return Path(os.fsdecode(_record(source).read_bytes()))
    except OSError:
        return home_of(source)


def remember_root(source: DatasetSource, root: Path) -> bool:
    """Let `find_root` give this folder from now on. False where it does already, or cannot be recorded."""
    root = Path(os.path.abspath(root))
    if root == find_root(source):
        return False
    record = _record(source)
    try:
        if root == home_of(source):
            record.unlink()
        else:
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_bytes(os.fsencode(root))
    except OSError:
        return False
    return True


def _record(source: DatasetSource) -> Path:
    """The file that holds the path of a root folder elsewhere."""
    home = home_of(source)
    return home.with_name(f"{home.name}.root")
