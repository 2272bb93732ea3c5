"""What open_clip_towers.py and timm_tower.py share: checking names, digests of weights, quiet libraries."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from hashcli.errors import HashcliError, did_you_mean
from hashcli.hashmodel.description import Interpolation, Resize


def check_known(what: str, name: str, known: Sequence[str], kind: str, listing: str) -> None:
    """Raise HashcliError with the nearest of the known names, which may be hundreds.

    `kind` says what is known, and `listing` is the Python call that lists it.
    """
    if name not in known:
        raise HashcliError(
            f"{what} cannot be loaded: {name!r} is not among the {kind}.{did_you_mean(name, known)}",
            f"In Python, {listing} lists them all.",
        )


def first_line(error: Exception) -> str:
    """What a library says of an error, which may be pages."""
    return str(error).splitlines()[0] if str(error) else repr(error)


def digest_files(files: Sequence[Path]) -> str:
    """16 hex digits over the files' content."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def our_resize(what: str, mode: str, **ours: Resize) -> Resize:
    """The resize of a hash model for the one that a library names. Raises HashcliError where there is none."""
    if mode not in ours:
        raise HashcliError(f"{what} brings photos to its size by {mode!r}, which hash models cannot.")
    return ours[mode]


def our_interpolation(what: str, name: str) -> Interpolation:
    """The interpolation of a hash model for the one that a library names. Raises HashcliError where there is none."""
    if name == "random":  # in training alone
        return "bicubic"
    if name not in ("bicubic", "bilinear"):
        raise HashcliError(f"{what} resizes photos with {name!r} interpolation, which hash models cannot.")
    return cast(Interpolation, name)


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Without the libraries' log messages: we report an error ourselves, once."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def skip_hub_if_offline() -> None:
    """Keep the Hugging Face client from trying for minutes where its hub does not answer.

    Offline, it uses what it has downloaded before, or says at once that it has nothing.
    """
    from huggingface_hub import constants, get_session

    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
        except Exception:  # the client may be built on one of several HTTP libraries
            constants.HF_HUB_OFFLINE = True
