"""Where indexes are: the default one, named ones, and those that lie beside their photos."""

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from hashcli.config_file import ConfigFileError, config_path, read_config
from hashcli.errors import HashcliError
from hashcli.index.catalog_file import FILE_NAME
from hashcli.index.milvus_address import MilvusAddress, is_milvus_address

BESIDE_PHOTOS = ".hashcli"  # an index of this name is found from the folder it is in and from all below it
DEFAULT_NAME = "default"
ENVIRONMENT_VARIABLE = "HASHCLI_INDEX"
_NAME = re.compile(r"\w[\w.-]{0,63}")


class ForeignIndexError(HashcliError):
    """The index found in `index_folder` may be a stranger's, who put it there, or into an archive, to be found."""

    def __init__(self, index_folder: Path, file: Path, why: str) -> None:
        name = "the index" if file == index_folder else file.name
        super().__init__(
            f"The index in {index_folder} was found rather than chosen, and {name} {why}.",
            "If you trust it, give its folder to use it.",
        )
        self.index_folder = index_folder


class IndexNameError(HashcliError):
    """A name that no index can have."""


@dataclass(frozen=True)
class IndexLocation:
    """The folder of an index, absolute and without links, whether or not an index is there yet.

    `name` is set if it was chosen by its name, or is the default one. With `was_found` it was not chosen at all, but
    found, and will be found in the same way again. With `collection` it is a collection on a Milvus server, and the
    folder means nothing.
    """

    folder: Path
    name: str | None = None
    was_found: bool = False
    collection: MilvusAddress | None = None


def locate(folder: str | os.PathLike[str] | None = None, name: str | None = None) -> IndexLocation:
    """The index in the given folder, or of the given name, or else the one that is found.

    Without folder and name, it is the index that $HASHCLI_INDEX names; else the one that `index` or `name` at the top
    of the config file chooses; else the one in a `.hashcli` in the working directory or in the nearest folder above
    that has one, as git finds its own; else the default one in the user's data folder.

    An address such as milvus://127.0.0.1:19530/archive in the place of the folder is that of a collection.

    Raises IndexNameError, ForeignIndexError, ConfigFileError, and HashcliError for a folder without a name.
    """
    if folder is None and name is None:
        folder = os.environ.get(ENVIRONMENT_VARIABLE) or None
    if folder is None and name is None:
        folder, name = _configured("index"), _configured("name")
    if name is not None:
        return IndexLocation(_resolved(_folder_of_name(name)), name)
    if folder is None:
        return _find()
    if is_milvus_address(folder):
        return IndexLocation(Path(), collection=MilvusAddress.parse(str(folder)))
    if not Path(folder).name:
        raise HashcliError(f"{os.fspath(folder)!r} is not the name of a folder.", "Give a folder for the index.")
    return IndexLocation(_resolved(Path(folder).expanduser()))


def named_indexes() -> dict[str, Path]:
    """The folders of the named indexes, by name; the default one comes first, if there is one."""
    folders = {DEFAULT_NAME: _folder_of_name(DEFAULT_NAME)}
    with suppress(FileNotFoundError, PermissionError):
        named = sorted((user_data_path("hashcli") / "indexes").iterdir())
        folders |= {folder.name: folder for folder in named if folder.name != DEFAULT_NAME}
    return {name: folder for name, folder in folders.items() if is_index(folder)}


def is_index(folder: Path) -> bool:
    """Whether an index is there, perhaps a damaged one. False also for a folder that we may not read."""
    return os.path.isfile(folder / FILE_NAME)


def _folder_of_name(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise IndexNameError(
            f"{name!r} cannot be the name of an index.",
            "A name begins with a letter or digit; letters, digits, - . and _ follow, 64 in all at most.",
        )
    data = user_data_path("hashcli")
    return data / "index" if name == DEFAULT_NAME else data / "indexes" / name


def _configured(key: str) -> str | None:
    """What a key at the top of the config file says. Raises ConfigFileError for anything but a text.

    A table is something else: [index] holds the options of a command.
    """
    value = read_config().get(key)
    if isinstance(value, dict):
        return None
    if value is not None and not isinstance(value, str):
        raise ConfigFileError(f'{config_path()}: {key} must be a text in " ", not {value!r}.')
    return value


def _find() -> IndexLocation:
    here = Path.cwd()
    for folder in (parent / BESIDE_PHOTOS for parent in (here, *here.parents)):
        if is_index(folder):
            _check_is_own(folder)
            return IndexLocation(_resolved(folder), was_found=True)
    return IndexLocation(_resolved(_folder_of_name(DEFAULT_NAME)), DEFAULT_NAME, was_found=True)


def _check_is_own(folder: Path) -> None:
    """Raise ForeignIndexError unless a folder is the user's own, and all files in it are, and none is a link.

    Links could lead to any file of the user, which would then be read, or written to.
    """
    for file in (folder, *folder.iterdir()):
        try:
            state = file.lstat()
        except FileNotFoundError:  # of an update that is at work
            continue
        if hasattr(os, "getuid") and state.st_uid != os.getuid():
            raise ForeignIndexError(folder, file, "belongs to another user")
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
            raise ForeignIndexError(folder, file, "is a link" if file.is_symlink() else "is not a plain file")


def _resolved(folder: Path) -> Path:
    return Path(os.path.realpath(folder))
