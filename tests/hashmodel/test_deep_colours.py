"""Pictures with colours of 16 bits each, as cameras, scanners and microscopes store fewer bits."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.hashmodel import images
from hashcli.hashmodel.images import load_pixels
from tests.conftest import SKIMAGE

SIZE = 64


@pytest.fixture
def shades() -> np.ndarray:
    """uint16 [height, width, 3] of 8 bits."""
    return np.asarray(Image.open(SKIMAGE / "chelsea.png").convert("RGB")).astype(np.uint16)


@pytest.fixture
def expected(tmp_path: Path, shades: np.ndarray) -> np.ndarray:
    Image.fromarray(shades.astype(np.uint8)).save(tmp_path / "plain.png")
    return load_pixels(tmp_path / "plain.png", SIZE, "squash").astype(int)


def save_png(path: Path, values: np.ndarray) -> None:
    """A PNG of 16 bits for each of 3 colours, or of 3 and transparency, which Pillow does not write."""
    height, width, bands = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


def save_tiff(path: Path, values: np.ndarray, *, order: str = "<", packed: bool = False) -> None:
    """A TIFF of 16 bits for each of 3 colours, in one strip."""
    height, width, _ = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if packed else pixels
    after = 8 + 2 + 10 * 12 + 4
    tags = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, after), (259, 3, 1, 8 if packed else 1)),
        *((262, 3, 1, 2), (273, 4, 1, after + 6), (277, 3, 1, 3), (278, 3, 1, height)),
        *((279, 4, 1, len(pixels)), (284, 3, 1, 1)),
    ]
    short = f"{order}HHIHxx"
    entries = [
        struct.pack(short if kind == 3 and n == 1 else f"{order}HHII", tag, kind, n, v) for tag, kind, n, v in tags
    ]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    path.write_bytes(head + b"".join(entries) + bytes(4) + struct.pack(f"{order}3H", 16, 16, 16) + pixels)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_colours_of_fewer_bits_than_16_use_all_shades(
    tmp_path: Path, shades: np.ndarray, expected: np.ndarray, bits: int
) -> None:
    values = shades << (bits - 8)
    save_png(tmp_path / "photo.png", values)
    save_tiff(tmp_path / "small.tiff", values)
    save_tiff(tmp_path / "big.tiff", values, order=">")
    save_tiff(tmp_path / "packed.tiff", values, packed=True)
    save_tiff(tmp_path / "big-packed.tiff", values, order=">", packed=True)
    for name in ("photo.png", "small.tiff", "big.tiff", "packed.tiff", "big-packed.tiff"):
        assert np.abs(load_pixels(tmp_path / name, SIZE, "squash") - expected).max() <= 2, name


def test_transparency_is_not_scaled(tmp_path: Path, shades: np.ndarray, expected: np.ndarray) -> None:
    alpha = np.full((*shades.shape[:2], 1), 65535)
    save_png(tmp_path / "photo.png", np.concatenate([shades << 2, alpha], axis=2))
    assert np.abs(load_pixels(tmp_path / "photo.png", SIZE, "squash") - expected).max() <= 2


def test_only_dim_files_are_decoded_twice(tmp_path: Path, shades: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    monkeypatch.setattr(images, "take_lower_bytes", lambda image: decoded.append(image.size))
    save_png(tmp_path / "photo.png", shades << 8)
    load_pixels(tmp_path / "photo.png", SIZE, "squash")
    assert decoded == []
    save_png(tmp_path / "dim.png", shades << 4)
    load_pixels(tmp_path / "dim.png", SIZE, "squash")
    assert decoded == [shades.shape[1::-1]]
