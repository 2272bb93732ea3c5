"""The hash models by name: those that ship, and the user's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

import hashcli
from hashcli.errors import HashcliError, did_you_mean, did_you_mean_path, reason_of
from hashcli.hashmodel.description import FILE_NAME

if TYPE_CHECKING:
    from hashcli.hashmodel.device import Device
    from hashcli.hashmodel.model import HashModel

DEFAULT_MODEL = "lite-256"


def model_homes() -> list[Path]:
    """The folders that hold hash models, one folder each: those that ship, then the user's."""
    package = Path(hashcli.__file__).parent
    shipped = package / "models"
    if not shipped.is_dir():  # a checkout, where models/ stands beside the package
        shipped = package.parent / "models"
    return [shipped, user_models()]


def user_models() -> Path:
    """The folder of the user's own hash models, which need not be there."""
    return user_data_path("hashcli") / "models"


def model_folders() -> Iterator[Path]:
    """Every installed hash model's folder."""
    for home in model_homes():
        if os.path.isdir(home):  # False also for a folder that we may not look into
            yield from sorted(path.parent for path in home.glob(f"*/{FILE_NAME}"))


def load_model(name_or_folder: str | Path = DEFAULT_MODEL, *, device: "Device" = "cpu") -> "HashModel":
    """A hash model by its name or folder, with the digest of every file checked, which takes a moment.

        model = load_model("lite-256")
        outputs = model.encode_texts(["a dog on a beach"])  # float32 [1, 256]

    `device` is "cpu", "cuda", "coreml", or "auto" for the first GPU that works, else the CPU. Raises HashcliError when
    there is no such model, when it is damaged, and when the device cannot be used.
    """
    from hashcli.hashmodel.model import HashModel

    return HashModel(find_model(name_or_folder), verify=True, device=device)


def find_model(name_or_folder: str | Path) -> Path:
    """The folder of a hash model given by name or as a folder. Raises HashcliError naming the installed ones."""
    name = str(name_or_folder)
    given = Path(name_or_folder).expanduser()
    try:
        if (given / FILE_NAME).is_file():
            return given.resolve()
        denied = None
    except PermissionError as error:  # for a name, only the working directory cannot be looked into
        denied = error
    folders = {folder.name: folder for folder in reversed(list(model_folders()))}  # a shipped name is not overridden
    if name in folders:
        return folders[name]
    if denied:
        raise HashcliError(f"{given / FILE_NAME} cannot be read: {reason_of(denied)}.") from denied
    known = ", ".join(sorted(folders)) or "none"
    if given.is_dir():
        raise HashcliError(f"{given} is not a hash model: it has no {FILE_NAME}.", f"Models by name: {known}.")
    like = did_you_mean(name, folders) or did_you_mean_path(name)
    raise HashcliError(f"There is no hash model {name!r}.{like}", f"Give a model's folder, or a name: {known}.")
