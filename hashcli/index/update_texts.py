"""Bringing the texts of an index up to date: only texts that are new are encoded.

First every text is written down, file by file, without a code where none is known; then those without one are encoded
in batches. A kill in between leaves texts that wait, and the next update encodes them.
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
from hashcli.index.catalog import Catalog, FileState
from hashcli.index.files.plan import ChangedFile, hash_of_content
from hashcli.index.files.text_files import Text, read_texts
from hashcli.index.summary import UpdateCallback, UpdateSummary

FILE_BATCH = 64
_ENCODED_AHEAD = 8  # batches


@dataclass(frozen=True, slots=True)
class _Read:
    content_hash: bytes
    texts: list[Text]
    away: int  # texts of a captions file that are about photos which are not there


class TextUpdate:
    """One update of the texts. `missing` are the files, photos among them, that are no longer where they were."""

    def __init__(
        self,
        catalog: Catalog,
        missing: Iterable[str],
        summary: UpdateSummary,
        reporter: UpdateCallback,
        *,
        rehash: bool,
    ) -> None:
        self._catalog = catalog
        self._missing = list(missing)
        self._rehash = rehash
        self._summary = summary
        self._reporter = reporter
        summary.texts_unchanged = catalog.count_all_texts()
        self._to_encode = 0  # texts that are counted as added or moved already
        # Texts of missing files: one that turns up in another file has moved, and has its code already.
        gone = [row for path in self._missing for row in catalog.texts(path)]
        self._codes_gone = dict(gone)
        self._gone = Counter(text for text, _ in gone)

    def set_texts(self, path: str, state: FileState, content_hash: bytes, texts: Sequence[Text]) -> None:
        """Write down what a file says now. Within a transaction."""
        before = self._catalog.texts(path)
        if not before and not texts:
            return
        codes = self._codes_gone | dict(before)
        left = Counter(text for text, _ in before)
        for text in (text.text for text in texts):
            if left[text]:
                left[text] -= 1
                continue
            if self._gone[text]:
                self._gone[text] -= 1
                self._count("texts_moved")
            else:
                self._summary.texts_added += 1
            self._to_encode += self._rehash or codes.get(text) is None
        self._count("texts_removed", left.total())
        self._catalog.set_texts(path, state, content_hash, [(text, codes.get(text.text)) for text in texts])

    def remove(self, path: str) -> None:
        """Drop the texts of a file. Within a transaction."""
        self._count("texts_removed", len(self._catalog.texts(path)))
        self._catalog.remove_texts(path)

    def remove_missing(self) -> None:
        """Drop the texts of the missing files, once all others are set. Within a transaction."""
        self._count("texts_removed", self._gone.total())
        for path in self._missing:
            self._catalog.remove_texts(path)

    def read_files(self, candidates: Sequence[ChangedFile]) -> None:
        """Read new and changed text files; every batch of them is committed."""
        if candidates:
            self._reporter.planned(len(candidates))
        for batch in batched(prefetch(_read, candidates, look_ahead=2 * FILE_BATCH), FILE_BATCH):
            with self._catalog.changing_items():
                for candidate, result in batch:
                    if isinstance(result, _Read):
                        self.set_texts(candidate.path, candidate.state, result.content_hash, result.texts)
                        if result.away:
                            photos = f"the photos of {result.away} of {len(result.texts)} captions in {candidate.path}"
                            reason = "not there; paths are relative to the file, and the captions are indexed"
                            self._summary.skip(photos, reason, self._reporter)
                    else:
                        reason = result.reason if isinstance(result, TextFileError) else reason_of(result)
                        self._summary.skip(candidate.path, reason, self._reporter)
            self._reporter.advanced(len(batch))

    def encode(self, model: HashModel) -> None:
        """Encode the texts that wait, or with `rehash` all; every batch is committed."""
        ids = self._catalog.ids_of_texts(encoded=self._rehash)
        self._count("texts_updated", len(ids) - self._to_encode)
        if not ids:
            return
        self._reporter.planned(len(ids))
        model.encode_texts([""])  # loads the encoder once, before every thread would
        texts = ([(id_, self._catalog.text(id_)) for id_ in batch] for batch in batched(ids, TEXT_BATCH))
        for batch, codes in prefetch(lambda batch: _codes(model, batch), texts, look_ahead=_ENCODED_AHEAD):
            if isinstance(codes, Exception):
                raise codes
            with self._catalog.changing_items():
                for id_, text in batch:
                    self._catalog.set_code(id_, codes[text])
            self._reporter.advanced(len(batch))

    def _count(self, what: str, texts: int = 1) -> None:
        """Count texts that were known: they are not unchanged."""
        setattr(self._summary, what, getattr(self._summary, what) + texts)
        self._summary.texts_unchanged -= texts


def _read(candidate: ChangedFile) -> _Read:
    """Runs in a thread; touches nothing but the file."""
    content_hash, texts = hash_of_content(candidate.path), read_texts(candidate.path, candidate.photo)
    photos = Counter(text.photo for text in texts if text.photo and not holds_lines(candidate.path))
    return _Read(content_hash, texts, sum(count for photo, count in photos.items() if not os.path.exists(photo)))


def _codes(model: HashModel, batch: Sequence[tuple[int, str]]) -> dict[str, np.ndarray]:
    """Runs in a thread. Equal texts, which are often in one batch, are encoded once."""
    texts = list(dict.fromkeys(text for _, text in batch))
    return dict(zip(texts, pack(model.encode_texts(texts)), strict=True))
