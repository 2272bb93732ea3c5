"""Reading the words in the photos of an index: once for each content, whatever becomes of the files that have it.

What was read is a text of the photo, as a description in it is. The catalog also keeps it by the hash of the content,
so that it comes along wherever a photo with this content is recorded, and so that a photo without words is not read
again.
"""

import os
from typing import TYPE_CHECKING, NamedTuple

from hashcli.errors import reason_of
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.index.catalog import Catalog, IndexedFile
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.ocr import OCR_MISSING, Ocr, OcrMissingError, load_photo
from hashcli.index.summary import UpdateReport
from hashcli.index.update_texts import TextUpdate

if TYPE_CHECKING:
    from PIL import Image

_BATCH = 8  # photos; an interrupt costs at most those of one
_LOOK_AHEAD = 4  # photos, of at most 12 MB each


class _Content(NamedTuple):
    """A content that is still to be read, a file that has it, and the photos that have it."""

    hash: bytes
    path: str
    photos: list[tuple[str, IndexedFile]]


def read_words_in_photos(catalog: Catalog, texts: TextUpdate, report: UpdateReport) -> None:
    """Read the photos that have not been read yet. Every batch is committed."""
    contents = _contents_to_read(catalog)
    if not contents:
        return
    try:
        ocr = Ocr()
    except OcrMissingError as error:  # the index remembers that it is to be read, but this Python cannot
        photos = "1 photo" if len(contents) == 1 else f"{len(contents)} photos"
        report.skip(f"the words in {photos}", f"{OCR_MISSING}. {error.remedy}")
        return
    report.callback.reading_words(len(contents))
    for batch in batched(prefetch(_load, contents, _LOOK_AHEAD), _BATCH):
        read = []
        for content, photo in batch:
            read.append((content, photo if isinstance(photo, Exception) else _texts(ocr, photo)))
            report.callback.advanced(1)
        is_change = any(isinstance(found, list) and found for _, found in read)
        with catalog.changing_items() if is_change else catalog.transaction():
            for content, found in read:
                if isinstance(found, Exception):
                    report.skip(content.path, f"its words cannot be read: {reason_of(found)}")
                elif found is not None:
                    catalog.set_texts_in_content(content.hash, found)
                    for path, file in content.photos if found else ():
                        texts.add(path, file, found)


def _contents_to_read(catalog: Catalog) -> list[_Content]:
    """Photos that cannot be reached now are left for a later update."""
    known = catalog.contents_read()
    photos: dict[bytes, list[tuple[str, IndexedFile]]] = {}
    for path, file in catalog.photos():
        if file.encoded and file.hash not in known:
            photos.setdefault(file.hash, []).append((path, file))
    paths = {
        hash_: next(filter(os.path.exists, (path for path, _ in with_it)), "") for hash_, with_it in photos.items()
    }
    return [_Content(hash_, paths[hash_], with_it) for hash_, with_it in photos.items() if paths[hash_]]


def _load(content: _Content) -> "Image.Image | None":
    """Runs in a thread. None if the file has changed: the next update reads it."""
    photo = load_photo(content.path)
    return photo if hash_of_content(content.path) == content.hash else None


def _texts(ocr: Ocr, photo: "Image.Image | None") -> list[str] | Exception | None:
    """What can be read in a photo, or why it cannot be read."""
    try:
        return None if photo is None else ocr.texts(photo)
    except Exception as error:  # one odd photo costs only itself
        return error
