"""Where indexes are: the default one, named ones, and one that lies beside the photos it is of."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from hashcli.config_file import read_config
from hashcli.errors import HashcliError
from hashcli.index.catalog_file import FILE_NAME

BESIDE_PHOTOS = ".hashcli"  # an index of this name is found from the folder it is in and from all below it
DEFAULT_NAME = "default"
ENVIRONMENT_VARIABLE = "HASHCLI_INDEX"
_NAME = re.compile(r"\w[\w.-]{0,63}")


class ForeignIndexError(HashcliError):
    """An index was found that belongs to another user, who could have put it in our way. `folder` is where it is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"The index in {folder} belongs to another user.", "Give its folder by name to use it anyway.")
        self.folder = folder


class IndexNameError(HashcliError):
    """A name that no index can have."""


@dataclass(frozen=True)
class IndexLocation:
    """The folder of an index, absolute and without links, whether or not an index is there yet.

    `name` is set where it was chosen by its name, or is the default one. `was_found` says that nobody chose it: the
    same search will find it again.
    """

    folder: Path
    name: str | None = None
    was_found: bool = False


def locate(folder: str | os.PathLike[str] | None = None, name: str | None = None) -> IndexLocation:
    """The index in a folder, or the one of a name, or the one that is found.

    Without either, it is the index that $HASHCLI_INDEX names; else the one that `index` or `name` at the top of the
    config file chooses; else the one in a `.hashcli` in the working directory or in the nearest folder above that has
    one, as git finds its own; else the default one in the user's data folder.
    Raises IndexNameError, ForeignIndexError, and HashcliError for a folder without a name.
    """
    if folder is None and name is None:
        folder = os.environ.get(ENVIRONMENT_VARIABLE) or None
    if folder is None and name is None:
        config = read_config()
        folder, name = config.get("index"), config.get("name")
    if name is not None:
        return IndexLocation(_resolved(_folder_of_name(name)), name)
    if folder is None:
        return _find()
    if not Path(folder).name:
        raise HashcliError(f"{os.fspath(folder)!r} is not the name of a folder.", "Give a folder for the index.")
    return IndexLocation(_resolved(Path(folder).expanduser()))


def named_indexes() -> dict[str, Path]:
    """The folders of the indexes that have a name, by name: the default one first, if there is one."""
    folders = {DEFAULT_NAME: _folder_of_name(DEFAULT_NAME)}
    if (named := user_data_path("hashcli") / "indexes").is_dir():
        folders |= {folder.name: folder for folder in sorted(named.iterdir()) if folder.name != DEFAULT_NAME}
    return {name: folder for name, folder in folders.items() if is_index(folder)}


def is_index(folder: Path) -> bool:
    """Whether an index is there; it may be damaged. False, too, where we may not look."""
    return os.path.isfile(folder / FILE_NAME)


def _folder_of_name(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise IndexNameError(
            f"{name!r} cannot be the name of an index.",
            "A name begins with a letter or digit; letters, digits, - . and _ follow, 64 in all at most.",
        )
    data = user_data_path("hashcli")
    return data / "index" if name == DEFAULT_NAME else data / "indexes" / name


def _find() -> IndexLocation:
    here = Path.cwd()
    for folder in (parent / BESIDE_PHOTOS for parent in (here, *here.parents)):
        if is_index(folder):
            if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                raise ForeignIndexError(folder)
            return IndexLocation(_resolved(folder), was_found=True)
    return IndexLocation(_resolved(_folder_of_name(DEFAULT_NAME)), DEFAULT_NAME, was_found=True)


def _resolved(folder: Path) -> Path:
    return Path(os.path.realpath(folder))
