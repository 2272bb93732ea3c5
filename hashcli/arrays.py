"""NumPy arrays in files that anything may have written: of NumPy itself, MATLAB and HDF5."""

import math
import zipfile
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from hashcli.errors import HashcliError, how_to_install, reason_of
from hashcli.plain_files import open_plain

ARRAY_SUFFIXES = (".npz", ".mat", ".h5", ".hdf5")  # of files that hold several arrays by name

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


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a .npz, .mat (of any version), .h5 or .hdf5 file by name: all, or those of `names` that it has.

    Strings are arrays of str, or of object where each is an array of one string, as SciPy gives a MATLAB cell:
    `as_string` reads both. Raises HashcliError naming a file that cannot be read, and a package that is missing.
    """
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file if names is None or name in names}
        if path.suffix.lower() == ".mat":
            try:
                content = _library("scipy.io").loadmat(path)
                return {
                    name: one
                    for name, one in content.items()
                    if (not name.startswith("__") if names is None else name in names)
                }
            except NotImplementedError:  # version 7.3 is HDF5
                pass
        with _library("h5py").File(path, "r") as file:
            found = [name for name in file if hasattr(file[name], "dtype") and (names is None or name in names)]
            return {name: _hdf5_array(file, file[name]) for name in found}
    except HashcliError:
        raise
    except Exception as error:  # numpy, scipy and h5py raise many kinds
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> HashcliError:
    """The error for a file of which NumPy, SciPy or h5py has said `error`."""
    if "allow_pickle" in str(error):
        remedy = "Write names as an array of strings: numpy.array(names)."
        return HashcliError(f"{path} cannot be read: it holds Python objects.", remedy)
    return HashcliError(f"{path} cannot be read: {reason_of(error)}.")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to a .npz, .mat, .h5 or .hdf5 file; strings become cells in .mat and UTF-8 in HDF5.

    Raises HashcliError for another suffix, a package that is missing, and a file that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in ARRAY_SUFFIXES:
        raise HashcliError(f"{path} is no file of arrays.", f"Such a file ends in {', '.join(ARRAY_SUFFIXES)}.")
    try:
        if suffix == ".npz":
            np.savez_compressed(path, allow_pickle=False, **arrays)
        elif suffix == ".mat":
            cells = {name: one.astype(object) if one.dtype.kind == "U" else one for name, one in arrays.items()}
            _library("scipy.io").savemat(path, cells, do_compression=True)
        else:
            h5py = _library("h5py")
            with h5py.File(path, "w") as file:
                for name, one in arrays.items():
                    strings = h5py.string_dtype() if one.dtype.kind == "U" else None
                    file.create_dataset(name, data=one.astype(object) if strings else one, dtype=strings)
    except OSError as error:
        raise HashcliError(f"{path} cannot be written: {reason_of(error)}.") from error


def as_string(one: Any) -> str:
    """A string as NumPy, SciPy and h5py give it: itself, UTF-8 bytes, or an array of one string (a MATLAB cell)."""
    while isinstance(one, np.ndarray):
        one = one.ravel()[0] if one.size else ""
    return one.decode() if isinstance(one, bytes) else str(one)


def _hdf5_array(file: Any, dataset: Any) -> np.ndarray:
    """An array as its writer saw it: MATLAB's are stored with their axes swapped, and its strings as UTF-16."""
    h5py = _library("h5py")
    if h5py.check_string_dtype(dataset.dtype):
        return np.array(dataset.asstr()[()])
    array = np.array(dataset[()])
    if h5py.check_ref_dtype(dataset.dtype):  # a cell array: each cell is an array elsewhere in the file
        return np.array([_from_utf16(np.array(file[reference][()])) for reference in array.ravel()])
    matlab = dataset.attrs.get("MATLAB_class", b"")
    if matlab == b"char":
        return np.array([_from_utf16(row) for row in array.T])
    return array.T if matlab else array


def _from_utf16(units: np.ndarray) -> str:
    return units.ravel().astype("<u2").tobytes().decode("utf-16-le")


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise HashcliError(
            f"A file of this kind is read with {name.partition('.')[0]}, which is not installed.",
            how_to_install("train"),
        ) from error
