"""Datasets from their publishers, where these offer them freely: fetched, checked and unpacked.

What broke off goes on where it was. An archive is checked by its MD5 where that is known; otherwise only by what it
holds of its own: zip and gzip carry a checksum of their content.

The addresses and checksums are those that public code uses, and are untried. COCO's checksums are in a dozen projects,
that of MIRFlickr's photos in two; for the others none is known.
"""

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hashcli.errors import HashcliError


@dataclass(frozen=True)
class Archive:
    """One file of a publisher. `into` is the folder its content belongs in, whether or not the archive names it."""

    url: str
    into: str = ""
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


_COCO = "http://images.cocodataset.org"
_MIRFLICKR = "https://press.liacs.nl/mirflickr/mirflickr25k.v3b"

ARCHIVES = {
    "coco": [
        Archive(f"{_COCO}/annotations/annotations_trainval2017.zip", "annotations", "f4bbac642086de4f52a3fdda2de5fa2c"),
        Archive(f"{_COCO}/zips/val2017.zip", "val2017", "442b8da7639aecaf257c1dceb8ba8c80"),
        Archive(f"{_COCO}/zips/train2017.zip", "train2017", "cced6f7f71b7629ddf16f17bbcfab6b2"),
    ],
    "iapr": [Archive("http://www-i6.informatik.rwth-aachen.de/imageclef/resources/iaprtc12.tgz")],
    "mirflickr": [
        Archive(f"{_MIRFLICKR}/mirflickr25k_annotations_v080.zip", "mirflickr25k_annotations_v080"),
        Archive(f"{_MIRFLICKR}/mirflickr25k.zip", "mirflickr", "a23d0a8564ee84cda5622a6c2f947785"),
    ],
}

ATTEMPTS = 5  # in a row that bring nothing new
TIMEOUT = 30  # seconds without a byte
MEBIBYTE = 1 << 20


class DownloadCallback(Protocol):
    """Told how a download goes on, in MiB, for each archive anew."""

    def planned(self, count: int) -> None: ...
    def advanced(self, count: int) -> None: ...


def download(name: str, root: Path, reporter: DownloadCallback) -> None:
    """Fetch a dataset and unpack it below `root`, in the layout that `load_dataset` reads.

    Archives already unpacked are not fetched again; what is under way is in `root`/downloads. Raises HashcliError when
    the publisher does not offer the dataset freely, when the connection fails, and when an archive is not what it
    should be.
    """
    if name not in ARCHIVES:
        raise HashcliError(
            f"{name} is not offered for free download.",
            f"Ask its publisher for it. Offered are: {', '.join(sorted(ARCHIVES))}.",
        )
    folder = root / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    for archive in ARCHIVES[name]:
        unpacked = folder / f"{archive.name}.unpacked"
        if not unpacked.exists():
            path = folder / archive.name
            if not path.exists():
                _fetch(archive, path, reporter)
            _unpack(archive, path, root)
            unpacked.touch()
            path.unlink()


def _fetch(archive: Archive, path: Path, reporter: DownloadCallback) -> None:
    """Bring an archive to `path`. It is there whole and checked, or not at all; until then it is in a `.part` file."""
    try:
        import requests
        import resumable
    except ImportError as error:
        raise HashcliError("Downloading needs one more package.", "pip install 'hashcli[train]'") from error

    part = path.with_name(f"{path.name}.part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            # As it is: a server may otherwise unpack a .tgz on the way, and the place to go on from is lost.
            headers = {"Accept-Encoding": "identity"}
            resumable.urlretrieve(archive.url, part, _hook(reporter), headers=headers, timeout=TIMEOUT)
            break
        except (requests.RequestException, resumable.DownloadError) as error:
            after = part.stat().st_size if part.exists() else 0
            failures = failures + 1 if after <= before else 0
            refused = isinstance(error, resumable.DownloadError)  # an answer, such as 404: asking again is no use
            if refused or failures == ATTEMPTS:
                raise HashcliError(
                    f"{archive.url} could not be fetched: {error}.",
                    f"{after / MEBIBYTE:,.1f} MiB of it are here: the same command goes on from there.",
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


def _hook(reporter: DownloadCallback) -> Callable[[int, int, int], None]:
    """Hand on what has been fetched, including what was there from an earlier attempt, in whole MiB."""
    done = -1

    def advanced(chunk: int, chunk_size: int, total: int) -> None:
        nonlocal done
        if done < 0:
            reporter.planned(max(total, 0) // MEBIBYTE)
            done = 0
        now = min((chunk + 1) * chunk_size, max(total, 0)) // MEBIBYTE
        if now > done:
            reporter.advanced(now - done)
            done = now

    return advanced


def _unpack(archive: Archive, path: Path, root: Path) -> None:
    """Unpack below `root`, and nowhere else, whatever names the archive holds."""
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
