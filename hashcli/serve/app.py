"""The server: one page, and a JSON interface with the terminal's rows. See `openapi` for what it takes."""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hashcli.errors import HashcliError
from hashcli.hashmodel.formats import UnreadableImageError
from hashcli.index.filter import type_of
from hashcli.index.results import SearchResult, SearchResults
from hashcli.json_rows import info_row, json_line, result_row
from hashcli.printable import local_time
from hashcli.serve import openapi
from hashcli.serve.originals import MOST_BYTES, MOST_FILES, UNKNOWN_TYPE, blocks_of, open_photo, zip_of
from hashcli.serve.parameters import Part, read_parameters
from hashcli.serve.security import Access, Guard
from hashcli.serve.served_index import GoneError, ServedIndex
from hashcli.serve.terminal import answering_terminals
from hashcli.serve.thumbnails import SIDES, Thumbnails

MOST_UPLOADED = 64 << 20  # bytes of a photo to search by
_UPLOADS = 8  # at once
_UPLOAD_SECONDS = 120  # for the whole of one
_MOST_FORM = 1 << 20
_DECODERS = 2  # threads; the memory for decoding has a bound of its own
_MOST_FACETS = 200  # folders that are counted
_ASSETS = {
    "/": ("hashcli.serve", "page.html", "text/html"),
    "/page.css": ("hashcli.serve", "page.css", "text/css"),
    "/page.js": ("hashcli.serve", "page.js", "text/javascript"),
    "/cards.js": ("hashcli.serve", "cards.js", "text/javascript"),
    "/viewer.js": ("hashcli.serve", "viewer.js", "text/javascript"),
    "/contact_sheet.css": ("hashcli.show", "contact_sheet.css", "text/css"),
}

# Errors of the index or its model, by the names of their classes. All others are of what the client has sent.
_OF_INDEX = {
    *("DamagedIndexError", "DamagedRowsError", "EmptyIndexError", "IndexGoneError", "IndexNotFoundError"),
    *("ModelChangedError", "ModelMissingError"),
}


@dataclass(frozen=True)
class ServerOptions:
    """The folders of the indexes by their names, who may ask, and where thumbnails are kept, if anywhere; and the
    folder for the sockets at which searches of the terminal are answered, if they are."""

    indexes: dict[str, Path]
    access: Access = field(default_factory=Access)
    thumbnails: Path | None = None
    sockets: Path | None = None


def create_app(options: ServerOptions) -> Starlette:
    """The server as an ASGI application. It opens the indexes when they are first asked for, and closes them when it
    ends."""
    decoders = ThreadPoolExecutor(_DECODERS)
    indexes = [
        ServedIndex(folder, name, number, decoders) for number, (name, folder) in enumerate(options.indexes.items())
    ]
    server = _Server(indexes, Thumbnails(options.thumbnails))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with AsyncExitStack() as stack:
                if options.sockets:
                    for index in indexes:
                        await stack.enter_async_context(answering_terminals(index, options.sockets))
                yield
        finally:
            for index in indexes:
                index.close()
            decoders.shutdown()

    routes = [Route(path, _asset(*where)) for path, where in _ASSETS.items()]
    routes += [
        Route("/openapi.json", server.openapi),
        Route("/api/info", server.info),
        Route("/api/search", server.search),
        Route("/api/similar/{id}", server.similar),
        Route("/api/thumbnail/{id}", server.thumbnail),
        Route("/api/photo/{id}", server.photo),
        Route("/api/upload", server.upload, methods=["POST"]),
        Route("/api/zip", server.zip, methods=["POST"]),
    ]
    handlers: Any = {
        HashcliError: _failed,
        HTTPException: lambda _, error: JSONResponse({"error": error.detail}, error.status_code),
    }
    middleware = [Middleware(Guard, access=options.access)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)


class _Server:
    """The answers to requests."""

    def __init__(self, indexes: Sequence[ServedIndex], thumbnails: Thumbnails) -> None:
        self._indexes, self._thumbnails = indexes, thumbnails
        self._uploads = asyncio.Semaphore(_UPLOADS)

    def _index_named(self, name: str | None) -> ServedIndex:
        for index in self._indexes:
            if name in (None, index.name):
                return index
        raise GoneError(
            f"No index {name!r:.80} is served.", f"Choose {' or '.join(one.name for one in self._indexes)}."
        )

    def _index_of(self, id_: str) -> ServedIndex:
        """The index of an item or uploaded photo."""
        number = id_.partition("-")[0]
        if number.isascii() and number.isdigit() and len(number) < 4 and int(number) < len(self._indexes):
            return self._indexes[int(number)]
        raise GoneError("This id is of nothing that is there.")

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(openapi.document())

    async def info(self, _: Request) -> Response:
        """Rows as of `info --json`, each with the name; of an index that cannot be read, why."""
        rows: list[dict[str, Any]] = []
        for index in self._indexes:
            try:
                rows.append({"name": index.name} | info_row(await index.info()))
            except HashcliError as error:
                rows.append({"name": index.name, "error": error.problem})
        return _json({"indexes": rows})

    async def search(self, request: Request) -> Response:
        asked, part = read_parameters(request.query_params)
        index = self._index_named(request.query_params.get("index"))
        return _answer(index, await index.search(asked), part)

    async def similar(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        if "index" in request.query_params:
            raise HTTPException(400, "There is no parameter 'index' here: an id is of one index alone.")
        asked, part = read_parameters(request.query_params, id_)
        index = self._index_of(id_)
        return _answer(index, await index.search(asked), part)

    async def thumbnail(self, request: Request) -> Response:
        id_, side = request.path_params["id"], request.query_params.get("side", str(SIDES[0]))
        if side not in map(str, SIDES):
            raise HTTPException(400, f"side must be one of {', '.join(map(str, SIDES))}.")
        index = self._index_of(id_)
        content, name = index.uploaded(id_), id_
        if content is None:
            path = await index.picture(id_)
            if path is None:
                raise GoneError("This text is about no photo.")
            try:
                content, name = await index.decode(lambda: self._thumbnails.of(path, int(side)))
            except FileNotFoundError:
                raise GoneError("The photo is no longer there.") from None
            except (OSError, UnreadableImageError) as error:
                raise HTTPException(415, "The photo cannot be shown.") from error
        headers = {"ETag": f'"{name}"', "Cache-Control": "private, max-age=300"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(None, 304, headers)
        return Response(content, media_type="image/webp", headers=headers)

    async def photo(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        index = self._index_of(id_)
        path = await index.picture(id_)
        if path is None:
            raise GoneError("This text is about no photo.")
        try:
            file, media_type = await index.decode(lambda: open_photo(path))
        except FileNotFoundError:
            raise GoneError("The photo is no longer there.") from None
        except (OSError, UnreadableImageError) as error:
            raise HTTPException(415, "The file is no photo that can be read.") from error
        is_shown = media_type != UNKNOWN_TYPE and "download" not in request.query_params
        name = quote(os.fsencode(os.path.basename(path)).decode(errors="replace"), safe="")
        headers = {
            "Content-Disposition": f"{'inline' if is_shown else 'attachment'}; filename*=UTF-8''{name}",
            "Content-Length": str(os.fstat(file.fileno()).st_size),
        }
        return StreamingResponse(blocks_of(file), media_type=media_type, headers=headers)

    async def upload(self, request: Request) -> Response:
        index = self._index_named(request.query_params.get("index"))
        async with self._uploads, asyncio.timeout(_UPLOAD_SECONDS):
            with tempfile.NamedTemporaryFile(prefix="hashcli-", suffix=".upload") as file:
                await _read_body(request, file, MOST_UPLOADED)
                file.flush()
                return JSONResponse({"id": await index.upload(file.name)})

    async def zip(self, request: Request) -> Response:
        with tempfile.SpooledTemporaryFile(_MOST_FORM) as file:
            await _read_body(request, file, _MOST_FORM)
            file.seek(0)
            try:
                ids = parse_qs(file.read().decode("latin-1"), max_num_fields=MOST_FILES).get("id", [])
            except ValueError:
                ids = []
        if not 0 < len(ids) <= MOST_FILES:
            raise HTTPException(400, f"A zip holds 1 to {MOST_FILES} photos.")
        paths = []
        for id_ in dict.fromkeys(ids):
            with suppress(GoneError):  # the others are sent
                if path := await self._index_of(id_).picture(id_):
                    paths.append(path)
        sizes = await asyncio.to_thread(lambda: [os.path.getsize(path) for path in paths if os.path.isfile(path)])
        if not sizes:
            raise GoneError("None of these photos is there any more.")
        if sum(sizes) > MOST_BYTES:
            raise HTTPException(413, f"These photos have more than {MOST_BYTES >> 30} GiB. Select fewer.")
        headers = {"Content-Disposition": 'attachment; filename="photos.zip"'}
        return StreamingResponse(zip_of(list(dict.fromkeys(paths))), media_type="application/zip", headers=headers)


async def _read_body(request: Request, file: Any, most: int) -> None:
    """Write what a client sends into a file. Raises HTTPException for more than `most` bytes."""
    too_large = HTTPException(413, f"More than {most >> 10} KiB.")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > most:
        raise too_large
    received = 0
    try:
        async for block in request.stream():
            received += len(block)
            if received > most:
                raise too_large
            file.write(block)
    except ClientDisconnect:
        raise HTTPException(400, "The client has left.") from None


def _answer(index: ServedIndex, found: SearchResults, part: Part) -> Response:
    sent = found[part.offset : None if part.count is None else part.offset + part.count]
    index.expect(sent)
    rows = [{"id": index.id_of(result)} | result_row(result) for result in sent]
    answer: dict[str, Any] = {"results": rows, "total": len(found)}
    answer["why_none"] = None if found.why_none is None else found.why_none.name.lower()
    answer["nearest_distance"] = found.nearest_distance
    answer["unknown_words"] = list(found.unknown_words)
    if part.facets:
        answer["facets"] = _facets(found.results)
    return _json(answer)


def _facets(results: Sequence[SearchResult]) -> dict[str, dict[str, int]]:
    """How many results a filter by each folder that holds some, by each type and by each year would leave. Years are
    those of photos alone: a text is filtered by the date of its photo, which is not that of the file it comes from."""
    pictures = [result.picture or result.path for result in results]
    dates = (result.date for result in results if result.text is None)
    years = Counter(local_time(date)[:4] for date in dates if date is not None)
    types = Counter(filter(None, map(type_of, pictures)))
    counts = {"folders": _in_folders(pictures), "types": types, "years": years}
    return {name: dict(counter.most_common(_MOST_FACETS)) for name, counter in counts.items()}


def _in_folders(paths: Sequence[str]) -> Counter[str]:
    """How many files there are in each folder that holds some, and below it."""
    directly = Counter(map(os.path.dirname, paths))
    found: Counter[str] = Counter()
    for folder, count in directly.items():
        for above in (folder, *map(str, PurePath(folder).parents)):
            if above in directly:
                found[above] += count
    return found


def _json(content: dict[str, Any]) -> Response:
    return Response(json_line(content), media_type="application/json")


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HashcliError)
    status = 404 if isinstance(error, GoneError) else 503 if type(error).__name__ in _OF_INDEX else 400
    return JSONResponse({"error": error.problem, "remedy": error.remedy}, status)


def _asset(package: str, name: str, media_type: str) -> Any:
    content = files(package).joinpath(name).read_text(encoding="utf-8")

    async def send(_: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return send
