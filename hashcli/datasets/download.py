"""Downloads of datasets from their publishers, where these offer them freely: fetched, checked and unpacked.

An interrupted download is resumed. An archive is checked by its MD5 where that is known; otherwise only by the
checksums that zip and gzip keep of their own content.

The addresses and checksums, in each dataset's file, are those that public code uses, and are untried. COCO's checksums
are in a dozen projects, that of MIRFlickr's photos in two; for the others none is known.
"""

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hashcli.datasets.registry import DATASETS
from hashcli.datasets.source import Archive
from hashcli.errors import HashcliError, how_to_install

ATTEMPTS = 5  # in a row without a new byte
TIMEOUT = 30  # seconds without a byte
MEBIBYTE = 1 << 20


class DownloadCallback(Protocol):
    """Progress of a download, in MiB: `planned` is called with the size of each archive, and `advanced` as it comes."""

    def planned(self, count: int) -> None: ...
    def advanced(self, count: int) -> None: ...


def download(name: str, root: Path, callback: DownloadCallback) -> None:
    """Fetch a dataset and unpack it below `root`, in the layout that `load_dataset` reads.

    Archives already unpacked are not fetched again. Unfinished ones are in `root`/downloads. Raises HashcliError when
    the publisher does not offer the dataset freely, when the connection fails, and when an archive is damaged.
    """
    archives = DATASETS[name].archives if name in DATASETS else ()
    if not archives:
        offered = sorted(source.name for source in DATASETS.values() if source.archives)
        raise HashcliError(
            f"{name} has no free download.",
            f"Ask its publisher for the files. Free downloads: {', '.join(offered)}.",
        )
    folder = root / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        unpacked = folder / f"{archive.name}.unpacked"
        if not unpacked.exists():
            path = folder / archive.name
            if not path.exists():
                _fetch(archive, path, callback)
            _unpack(archive, path, root)
            unpacked.touch()
            path.unlink()


def _fetch(archive: Archive, path: Path, callback: DownloadCallback) -> None:
    """Fetch an archive into a `.part` file, check it, and move it to `path`: what is there is whole."""
    try:
        import requests
        import resumable
    except ImportError as error:
        raise HashcliError("Downloading needs one more package.", how_to_install("train")) from error

    part = path.with_name(f"{path.name}.part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            # A server may otherwise send a .tgz unpacked, and positions in the file would mean nothing.
            headers = {"Accept-Encoding": "identity"}
            resumable.urlretrieve(archive.url, part, _hook(callback), headers=headers, timeout=TIMEOUT)
            break
        except (requests.RequestException, resumable.DownloadError) as error:
            after = part.stat().st_size if part.exists() else 0
            failures = failures + 1 if after <= before else 0
            refused = isinstance(error, resumable.DownloadError)  # an answer, such as 404: it will not change
            if refused or failures == ATTEMPTS:
                raise HashcliError(
                    f"{archive.url} could not be fetched: {error}.",
                    f"{after / MEBIBYTE:,.1f} MiB have been downloaded: try again to resume from there.",
                ) from error
    if archive.md5:
        with part.open("rb") as content:
            md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != archive.md5:
            part.unlink()
            raise HashcliError(
                f"{archive.url} has the MD5 {md5}, not {archive.md5}; it was deleted.",
                "Try again; if that does not help, the publisher has changed it.",
            )
    part.rename(path)


def _hook(callback: DownloadCallback) -> Callable[[int, int, int], None]:
    """Report what has been fetched in whole MiB, including what an earlier attempt had fetched."""
    done = -1

    def advanced(chunk: int, chunk_size: int, total: int) -> None:
        nonlocal done
        if done < 0:
            callback.planned(max(total, 0) // MEBIBYTE)
            done = 0
        now = min((chunk + 1) * chunk_size, max(total, 0)) // MEBIBYTE
        if now > done:
            callback.advanced(now - done)
            done = now

    return advanced


def _unpack(archive: Archive, path: Path, root: Path) -> None:
    """Unpack below `root`. Names in the archive that lead out of it are refused, or kept inside."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as content:
                named = any(name.startswith(f"{archive.into}/") for name in content.namelist())
                content.extractall(root if named else root / archive.into)
        else:
            with tarfile.open(path) as content:
                content.extractall(root / archive.into, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        path.unlink()
        raise HashcliError(f"{archive.url} is damaged: {error}; it was deleted.", "Try again.") from error
