"""Answers searches of the terminal: see `terminal_client`, which asks."""

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from hashcli.errors import HashcliError
from hashcli.index.distance_limit import DistanceLimit
from hashcli.index.filter import Filter
from hashcli.index.query import Query
from hashcli.index.search import Index
from hashcli.serve.served_index import ServedIndex
from hashcli.serve.terminal_client import MOST_RESULTS, is_private, socket_path, surroundings

_SECONDS = 15  # for a question to arrive, and for its answer to be taken
_MOST_BYTES = 1 << 20  # of a question
_NO_ANSWER = b"{}"  # the terminal then searches by itself, and says what is wrong


@asynccontextmanager
async def answering_terminals(index: ServedIndex, folder: Path) -> AsyncIterator[None]:
    """Answer searches of an index at its socket in a folder, which is made. Where that is not possible, searches of the
    terminal go without."""
    path = socket_path(folder, index.folder)
    try:
        listening = _listening(path)
    except (OSError, AttributeError):  # AttributeError: a system without unix sockets
        yield
        return
    own = os.lstat(path)
    server = await asyncio.start_unix_server(partial(_answer, index), sock=listening, limit=_MOST_BYTES)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            if os.path.samestat(own, os.lstat(path)):  # not that of a later server
                os.unlink(path)


def _listening(path: Path) -> socket.socket:
    """A socket that takes the place of one that is there: of a server that was killed, or of one for the same index."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(path.parent):
        raise PermissionError(f"{path.parent} is not private")
    unfinished = path.with_suffix(f".{os.getpid()}")
    listening = socket.socket(socket.AF_UNIX)
    try:
        unfinished.unlink(missing_ok=True)
        listening.bind(os.fspath(unfinished))
        os.chmod(unfinished, 0o600)
        listening.listen()
        unfinished.replace(path)
    except BaseException:
        listening.close()
        raise
    return listening


async def _answer(index: ServedIndex, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answer = _NO_ANSWER
    with suppress(OSError, TimeoutError):
        try:
            async with asyncio.timeout(_SECONDS):
                question = json.loads(await reader.readline())
            if question.pop("from") == surroundings():
                answer = await index.do(lambda opened: _found(opened, question))
        except (HashcliError, ValueError, TypeError, KeyError, AttributeError):
            pass  # what makes no sense, or cannot be searched for
        writer.write(answer)
        async with asyncio.timeout(_SECONDS):
            await writer.drain()
    writer.close()


def _found(index: Index, question: dict[str, Any]) -> bytes:
    """What Index.search finds, as JSON. Nothing that is kept is used: a photo may just have been deleted."""
    keys = "texts", "images", "nots", "not_images"
    texts, images, nots, not_images = ([(one, weight) for one, weight in question.pop(key)] for key in keys)
    where, limit = Filter(**question.pop("where")), question.pop("limit")
    if question["k"] > MOST_RESULTS:
        return _NO_ANSWER
    warnings = _Warnings()
    logger = logging.getLogger("hashcli")
    logger.addHandler(warnings)
    try:
        query = Query(texts, images, nots, not_images)
        found = index.search(query, where=where, limit=limit and DistanceLimit(**limit), **question)
    finally:
        logger.removeHandler(warnings)
    if warnings.any:  # which the terminal should show
        return _NO_ANSWER
    answer = {
        "results": [vars(result) for result in found],
        "nearest_distance": found.nearest_distance,
        "why_none": found.why_none and found.why_none.name,
        "unknown_words": found.unknown_words,
        "called": index.called,
        "model_name": index.load_model().name,
        "bits": index.indexed_model.bits,
    }
    return json.dumps(answer).encode()


class _Warnings(logging.Handler):
    """Notices whether anything is logged."""

    any = False

    def emit(self, _: logging.LogRecord) -> None:
        self.any = True
