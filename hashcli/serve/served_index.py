"""An index as the server uses it: in threads of its own, always the index that is there now, its items by ids."""

import asyncio
import hashlib
import os
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from hashcli.errors import HashcliError, reason_of
from hashcli.hashmodel.formats import UnreadableImageError
from hashcli.hashmodel.model import HashModel
from hashcli.index.catalog import Item
from hashcli.index.catalog_file import IndexGoneError
from hashcli.index.query import Query
from hashcli.index.results import SearchResult, SearchResults
from hashcli.index.search import Index, IndexInfo, ModelReplacedError
from hashcli.plain_files import state_of
from hashcli.serve.parameters import Asked
from hashcli.serve.thumbnails import encoded_thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

_READERS = 2  # for each index: while one waits for the disk, or computes without Python's lock, the other goes on
_ANSWERS = 16  # that are kept, for those who scroll through them
_ANSWER_SECONDS = 30
_EXPECTED = 1000  # photos of texts that were sent last
_PHOTOS = 64  # that were searched by, about 150 kB each
_UPLOAD_SIDE = 320
_ITEM_ID = re.compile(r"(\d{1,3})-(\d{1,18})-([0-9a-f]{12})", re.ASCII)


class GoneError(HashcliError):
    """An id of nothing that is there, or is there any more."""


@dataclass(frozen=True)
class QueryPhoto:
    """A photo to search by, of the size that the hash model reads, and a thumbnail of one that was uploaded."""

    pixels: "Image"
    thumbnail: bytes = b""


class _Reader:
    """The index, opened in a thread of its own, and how much that has to do."""

    def __init__(self, folder: Path) -> None:
        self.index, self.thread, self.at_work = Index(folder), ThreadPoolExecutor(1), 0

    def current(self) -> Index:
        """The index, opened anew if another one has taken its place. In its thread."""
        try:
            self.index.catalog.check_is_there()
        except IndexGoneError:
            self.index.close()
        return self.index


class ServedIndex:
    """One index. Its methods may be called in the event loop; what they read is read in the threads of its readers."""

    def __init__(self, folder: Path, name: str, number: int, decoders: ThreadPoolExecutor) -> None:
        self.name, self.number = name, number
        self._readers = [_Reader(folder) for _ in range(_READERS)]
        self._decoders = decoders
        self._answers: OrderedDict[Asked, tuple[int, float, SearchResults]] = OrderedDict()
        self._answers_lock = Lock()  # for the readers' threads
        self._expected: deque[str] = deque(maxlen=_EXPECTED)  # photos that texts are about
        self._are_indexed: dict[tuple[int, str], bool] = {}  # by the generation of the catalog
        # By the ids of uploads, and by the paths of others with the states of their files and the model they are for.
        self._photos: OrderedDict[str | tuple[str, Any, str], QueryPhoto] = OrderedDict()

    @property
    def folder(self) -> Path:
        return self._readers[0].index.folder

    async def do(self, work: Callable[[Index], T]) -> T:
        """Do some work with the index that is there now, in the thread of the reader with the least to do."""
        reader = min(self._readers, key=lambda one: one.at_work)
        reader.at_work += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(reader.thread, lambda: work(reader.current()))
        finally:
            reader.at_work -= 1

    def close(self) -> None:
        for reader in self._readers:
            reader.thread.submit(reader.index.close).result()
            reader.thread.shutdown()

    async def info(self) -> IndexInfo:
        return await self.do(Index.info)

    # --- searching ---

    async def search(self, asked: Asked) -> SearchResults:
        """The results of a search. Raises HashcliError as Index.search does, and GoneError for a photo of an id that is
        gone."""
        images = [await self._query_photo(id_) for id_ in asked.images]
        not_images = [await self._query_photo(id_) for id_ in asked.not_images]
        return await self.do(lambda index: self._found(index, asked, images, not_images))

    def _found(self, index: Index, asked: Asked, images: "list[Image]", not_images: "list[Image]") -> SearchResults:
        generation, now = index.catalog.generation, time.monotonic()
        with self._answers_lock:
            known = self._answers.get(asked)
        if known and known[0] == generation and now - known[1] < _ANSWER_SECONDS:
            return known[2]
        query = Query(asked.texts, images, asked.nots, not_images)
        try:
            results = index.search(query, **vars(asked.arguments))
        except ModelReplacedError:
            results = index.search(query, **vars(asked.arguments))  # by the new model
        with self._answers_lock:
            _remember(self._answers, asked, (generation, now, results), _ANSWERS)
        return results

    async def _query_photo(self, id_: str) -> "Image":
        if known := self._photos.get(id_):  # which was uploaded
            return known.pixels
        path = await self.picture(id_)
        if path is None:
            raise HashcliError("This text is about no photo that is indexed.")
        model = await self.do(Index.load_model)
        key = path, state_of(path), model.fingerprint  # the file or the model may have been replaced meanwhile
        if known := self._photos.get(key):
            return known.pixels
        pixels = await self._pixels(model, path, os.path.basename(path))
        _remember(self._photos, key, QueryPhoto(pixels), _PHOTOS)
        return pixels

    async def upload(self, path: str) -> str:
        """Keep the photo in a file for searches, and give it an id. Raises HashcliError if it cannot be decoded."""
        pixels = await self._pixels(await self.do(Index.load_model), path, "The photo")
        thumbnail = await self.decode(lambda: encoded_thumbnail(path, _UPLOAD_SIDE))
        id_ = f"{self.number}-upload-{hashlib.sha256(thumbnail).hexdigest()[:24]}"
        _remember(self._photos, id_, QueryPhoto(pixels, thumbnail), _PHOTOS)
        return id_

    def uploaded(self, id_: str) -> bytes | None:
        """The thumbnail of an uploaded photo; None if it is not kept any more."""
        known = self._photos.get(id_)
        return known.thumbnail or None if known else None

    async def _pixels(self, model: HashModel, path: str, name: str) -> "Image":
        from PIL import Image

        try:
            return await self.decode(lambda: Image.fromarray(model.load_pixels(path)))
        except FileNotFoundError as error:
            raise GoneError(f"{name} is no longer there.") from error
        except (UnreadableImageError, OSError) as error:
            raise HashcliError(
                f"{name} cannot be read: {reason_of(error)}.", "Give a photo in a format such as JPEG, PNG or WebP."
            ) from error

    async def decode(self, work: Callable[[], T]) -> T:
        """Do some work in the threads for decoding photos."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)

    # --- items by their ids ---

    def id_of(self, result: SearchResult) -> str:
        """What clients call an item. It stands for it as long as the index holds it under this path."""
        return f"{self.number}-{result.id}-{_tag(result.path)}"

    async def item(self, id_: str) -> Item:
        """Raises GoneError for an id of nothing that the index holds now."""
        match = _ITEM_ID.fullmatch(id_)
        if match is None:
            raise GoneError("This id is of nothing that is there.", "Give the photo again, or search again.")
        number, tag = int(match[2]), match[3]

        def found(index: Index) -> Item | None:
            with index.catalog.snapshot():
                return index.catalog.items([number]).get(number)

        item = await self.do(found)
        if item is None or _tag(item.path) != tag:
            raise GoneError("The index does not hold this any more.", "Search again.")
        return item

    async def picture(self, id_: str) -> str | None:
        """The path of the photo that shows an item; None for a text about none that is indexed: a list of captions can
        name any file. Raises GoneError."""
        item = await self.item(id_)
        if item.text is None or item.photo is None:
            return item.path if item.text is None else None
        photo = item.photo
        return photo if await self.do(lambda index: self._is_indexed(index, photo)) else None

    def expect(self, results: Sequence[SearchResult]) -> None:
        """Note results that are sent: their pictures will be asked for next."""
        self._expected.extend(result.photo for result in results if result.text is not None and result.photo)

    def _is_indexed(self, index: Index, photo: str) -> bool:
        """Whether a photo that a text is about is indexed. To find that out takes a while in a large index, whether for
        one or for many; so it is found out for all that are expected, too."""
        with index.catalog.snapshot():
            generation, known = index.catalog.generation, self._are_indexed
            if (generation, photo) not in known:
                photos = {photo, *self._expected.copy()}
                indexed = index.catalog.indexed_photos(photos)
                self._are_indexed = known = {(generation, one): one in indexed for one in photos}
            return known[generation, photo]


def _remember(known: "OrderedDict[Any, Any]", key: object, value: object, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)


def _tag(path: str) -> str:
    """What tells an item from one of the same number in another index that takes this one's place."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:12]
