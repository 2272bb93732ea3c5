"""NumPy arrays from files that anything may have written."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from hashcli.plain_files import open_plain

_LARGEST = 1 << 30  # bytes that an array in a .npz may take: some kilobytes may unpack to any size


def read_npy(path: Path) -> np.ndarray:
    """The array in a .npy file. Raises OSError, and ValueError for a file that holds something else."""
    with open_plain(path) as file:
        return _read(file, path.stat().st_size)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a .npz file, by name. Raises OSError, and ValueError for a file that holds something else."""
    arrays = {}
    try:
        with open_plain(path) as file, zipfile.ZipFile(file) as content:
            for entry in content.infolist():
                if entry.file_size > _LARGEST:
                    raise ValueError(f"{entry.filename} unpacks to {entry.file_size:,} bytes")
                with content.open(entry) as array:
                    arrays[entry.filename.removesuffix(".npy")] = _read(array, entry.file_size)
    except (OSError, ValueError):
        raise
    except Exception as error:  # of zipfile and its decompressors, which share no class
        raise ValueError(f"not a .npz file: {error}") from error
    return arrays


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """An array as np.save writes it, from a file of `size` bytes; no memory is taken for more than these."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - file.tell():
            raise ValueError("not an array of numbers of its file's size")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy raises nearly anything on a damaged header
        raise ValueError(f"not a NumPy array: {error}") from error
