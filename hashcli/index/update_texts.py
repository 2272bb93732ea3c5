"""Bringing the texts of an index up to date: only texts that are new are encoded.

First every text is recorded, file by file, with its code if that is known. Then those without one are encoded in
batches. A kill in between leaves texts that wait, and the next update encodes them.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hashcli.captions import TextFileError, holds_lines
from hashcli.errors import reason_of
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import TEXT_BATCH, HashModel
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.index.catalog import UNSTORABLE, Catalog, FileState, IndexedFile
from hashcli.index.files.changed import ChangedFile, ChangedFiles
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.text_files import Text, read_texts
from hashcli.index.summary import UpdateReport

FILE_BATCH = 64
_BATCHES_AHEAD = 8


@dataclass(frozen=True, slots=True)
class _TextFileContent:
    content_hash: bytes
    texts: list[Text]
    without_photo: int  # texts of a captions file about photos that are not there


class TextUpdate:
    """One update of the texts. `missing` are the files, including photos, that are no longer where they were."""

    def __init__(self, catalog: Catalog, missing: Iterable[str], report: UpdateReport, *, rehash: bool) -> None:
        self._catalog = catalog
        self._missing = list(missing)
        self._rehash = rehash
        self._report = report
        self._summary = report.summary
        self._counted = 0  # texts to encode that are counted as added or moved
        # Texts of missing files: one that turns up in another file has moved, and keeps its code.
        missing_texts = [row for path in self._missing for row in catalog.texts(path)]
        self._missing_codes = dict(missing_texts)
        self._missing_texts = Counter(text for text, _ in missing_texts)

    def set_texts(self, path: str, state: FileState, content_hash: bytes, texts: Sequence[Text]) -> None:
        """Record what a file says now. Within a transaction."""
        before = self._catalog.texts(path)
        if not before and not texts:
            return
        codes = self._missing_codes | dict(before)
        self._catalog.set_texts(path, state, content_hash, [(text, codes.get(text.text)) for text in texts])
        left = Counter(text for text, _ in before)
        for text in (text.text for text in texts):
            if left[text]:
                left[text] -= 1
                continue
            if self._missing_texts[text]:
                self._missing_texts[text] -= 1
                self._summary.texts_moved += 1
            else:
                self._summary.texts_added += 1
            self._counted += self._rehash or codes.get(text) is None
        self._summary.texts_removed += left.total()

    def add(self, path: str, photo: IndexedFile, texts: Iterable[str]) -> None:
        """Record more texts in a photo. Within a transaction."""
        all_texts = dict.fromkeys([*(text for text, _ in self._catalog.texts(path)), *texts])
        self.set_texts(path, photo.state, photo.hash, [Text(None, text, path) for text in all_texts])

    def remove(self, path: str) -> None:
        """Drop the texts of a file. Within a transaction."""
        self._summary.texts_removed += len(self._catalog.texts(path))
        self._catalog.remove_texts(path)

    def remove_from(self, missing_photo: str) -> None:
        """Drop the texts at a photo's old place, when it and they are recorded at a new one. Within a transaction.

        `set_texts` has counted them as moved, or `remove_missing` will count them as removed.
        """
        self._catalog.remove_texts(missing_photo)

    def remove_missing(self) -> None:
        """Drop the texts of the missing files, once all others are set. Within a transaction."""
        self._summary.texts_removed += self._missing_texts.total()
        for path in self._missing:
            self._catalog.remove_texts(path)

    def read_files(self, files: ChangedFiles) -> None:
        """Read new and changed text files. Every batch of them is committed."""
        if files:
            self._report.callback.planned(len(files))
        for batch in batched(prefetch(_read, files, look_ahead=2 * FILE_BATCH), FILE_BATCH):
            with self._catalog.changing_items():
                for file, result in batch:
                    if isinstance(result, Exception):
                        reason = result.reason if isinstance(result, TextFileError) else reason_of(result)
                        self._report.skip(file.path, reason)
                        continue
                    try:
                        with self._catalog.part():
                            self._set_content(file, result)
                    except UNSTORABLE as error:
                        self._report.skip(file.path, reason_of(error))
            self._report.callback.advanced(len(batch))

    def encode(self, model: HashModel) -> None:
        """Encode the texts that wait, or with `rehash` all the first time. Every batch is committed."""
        ids = self._catalog.ids_of_texts(encoded=self._rehash)
        self._summary.texts_updated += len(ids) - self._counted
        self._rehash, self._counted = False, 0
        if not ids:
            return
        self._report.callback.planned(len(ids))
        model.encode_texts([""])  # loads the encoder, which otherwise each thread would do
        texts = ([(id_, self._catalog.text(id_)) for id_ in batch] for batch in batched(ids, TEXT_BATCH))
        for batch, codes in prefetch(lambda batch: _codes(model, batch), texts, look_ahead=_BATCHES_AHEAD):
            if isinstance(codes, Exception):
                codes = self._codes_one_by_one(model, batch)
            with self._catalog.changing_items():
                for id_, text in batch:
                    if text in codes:
                        self._catalog.set_code(id_, codes[text])
            self._report.callback.advanced(len(batch))

    def _codes_one_by_one(self, model: HashModel, batch: Sequence[tuple[int, str]]) -> dict[str, np.ndarray]:
        """The codes of a batch that could not be encoded as a whole; the texts that are the reason are skipped."""
        model.encode_texts([""])  # raises if the reason is not in a text
        codes: dict[str, np.ndarray] = {}
        for id_, text in batch:
            try:
                codes |= _codes(model, [(id_, text)])
            except Exception as error:
                item = self._catalog.items([id_])[id_]
                place = item.path if item.line is None else f"{item.path}:{item.line}"
                self._report.skip(place, reason_of(error))
        return codes

    def _set_content(self, file: ChangedFile, read: _TextFileContent) -> None:
        self.set_texts(file.path, file.state, read.content_hash, read.texts)
        if read.without_photo:
            self._report.skip(
                f"the photos of {read.without_photo} of {len(read.texts)} captions in {file.path}",
                "not there; paths are relative to the file, and the captions are indexed",
            )


def _read(file: ChangedFile) -> _TextFileContent:
    """Runs in a thread, and uses nothing but the file."""
    content_hash, texts = hash_of_content(file.path), read_texts(file.path, file.photo)
    photos = Counter(text.photo for text in texts if text.photo and not holds_lines(file.path))
    without_photo = sum(count for photo, count in photos.items() if not os.path.exists(photo))
    return _TextFileContent(content_hash, texts, without_photo)


def _codes(model: HashModel, batch: Sequence[tuple[int, str]]) -> dict[str, np.ndarray]:
    """Runs in a thread. Equal texts, which are often in one batch, are encoded once."""
    texts = list(dict.fromkeys(text for _, text in batch))
    return dict(zip(texts, pack(model.encode_texts(texts)), strict=True))
