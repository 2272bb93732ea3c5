"""Files beside the catalog that are made from it, and can be made again at any time.

Each ends in a trailer with the generation of the catalog that it was made from, and the checksum of all before.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hashcli.plain_files import create_plain, open_plain

TRAILER = struct.Struct("<QI")  # generation, CRC-32 of all bytes before the trailer


class ChecksummedFile:
    """Passes what is written on to a file, and keeps its CRC-32."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.checksum = file, 0

    def write(self, content: bytes | memoryview) -> int:
        self.checksum = zlib.crc32(content, self.checksum)
        return self._file.write(content)


def map_file(path: Path) -> np.ndarray:
    """A file mapped into memory, uint8 [bytes]. Raises OSError, and ValueError for an empty file."""
    with open_plain(path) as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def generation_of(content: np.ndarray, *, check_content: bool) -> int | None:
    """The generation in a file's trailer; None if the content is to be checked and is damaged.

    Raises struct.error for a file that is too short.
    """
    generation, checksum = TRAILER.unpack(content[-TRAILER.size :].data)
    is_damaged = check_content and zlib.crc32(content[: -TRAILER.size].data) != checksum
    return None if is_damaged else generation


def write_file(path: Path, generation: int, write: Callable[[ChecksummedFile], object]) -> None:
    """Write a file and its trailer under a temporary name, make sure it is on disk, and give it its name."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with create_plain(temporary) as file:
            checksummed = ChecksummedFile(file)
            write(checksummed)
            file.write(TRAILER.pack(generation, checksummed.checksum))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
