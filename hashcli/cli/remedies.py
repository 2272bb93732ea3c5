"""Which command solves which error of the library. The library itself does not mention commands."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hashcli.errors import HashcliError

if TYPE_CHECKING:
    from hashcli.index.locations import IndexLocation

# By the name of the error's class, because importing the classes would load the modules that raise them (a test holds
# the names). {index} is the command that updates the index in use; other names in braces are attributes of the error.
_REMEDIES = {
    "CannotWatchError": "There may be more folders than the system can watch (fs.inotify.max_user_watches). "
    "Instead of --watch, you can run {index} from cron.",
    "DamagedIndexError": "Delete the index folder and run {index} again.",
    "DamagedRowsError": "{index} drops them and reads their files again.",
    "DamagedSearchFilesError": "{index} makes them anew.",
    "EmptyIndexError": "To add photos: {index} PATH-OF-PHOTOS",
    "ForeignIndexError": "To use it anyway: --index {index_folder}",
    "IndexGoneError": "If it was deleted, everything in it is lost. To make it again: {index} PATH-OF-PHOTOS",
    "IndexNotFoundError": "To create one: {index} PATH-OF-PHOTOS",
    "MachineTakenError": "For another label of this machine: {index} --machine LABEL. If that index is gone: "
    "{index} --rebuild replaces its rows",
    "ModelChangedError": "To encode everything again: {index} --rehash",
    "ModelMissingError": "If it was moved: {index} --model FOLDER. Else encode everything with another model: "
    "{index} --rehash --model NAME",
    "NotPublishedError": "To publish it: {index} --publish milvus://HOST:PORT/COLLECTION",
    "NoTextsError": "Put the texts of photo.jpg into photo.txt beside it, one per line. "
    "Without any texts: hashcli distill --method rank",
    "OtherModelError": "To encode everything again: {index} --rehash --model {model}",
    "RootMissingError": "Give --root, the folder that holds its official files: it is remembered. "
    "With --download, what the publisher offers freely is fetched into {home}",
    "RunExistsError": "Continue it with --resume, or choose another --out.",
    "SearchFilesError": "Nothing is lost: free some disk space, or check the permissions of the folder; then "
    "run {index} again.",
    "UnusableIndexFolderError": "Check its permissions, or choose another folder with --index.",
}


@contextmanager
def with_remedies(location: "IndexLocation | None" = None) -> Iterator[None]:
    """Add to any library error raised in the block the command that solves it, with the options for this index."""
    try:
        yield
    except HashcliError as error:
        remedy = _REMEDIES.get(type(error).__name__)
        if remedy:
            known = {name: shlex.quote(str(value)) for name, value in vars(error).items()}
            error.remedy = remedy.format(index=index_command(location) if location else "hashcli index", **known)
        raise


def index_command(location: "IndexLocation") -> str:
    """The command that updates this index, as it must be typed in the working directory."""
    from hashcli.index.locations import named_indexes

    if location.was_found:  # it will be found again without an option
        return "hashcli index"
    name = location.name
    if name is None:
        folders = {folder.resolve(): name for name, folder in named_indexes().items()}
        name = folders.get(location.folder)
    return f"hashcli index --name {name}" if name else f"hashcli index --index {shlex.quote(str(location.folder))}"
