"""Colours of 16 bits each, of which Pillow decodes the upper 8: those of a camera or microscope of 10 bits are black.

Such a file is decoded a second time, to the lower bytes: what Pillow takes for the upper ones if it is told the other
order of bytes.
"""

import sys

import numpy as np
from PIL import Image, ImageFile

from hashcli.hashmodel.colours import SENSOR_BITS

_MODES = ("RGB;16", "RGBA;16", "RGBX;16")  # as Pillow calls the order of the bytes in a file, with B, L or N after it
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_ROWS = 256  # that are computed at a time


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not yet decoded has colours of 16 bits each."""
    tiles = getattr(image, "tile", None)
    mode = _raw_mode(tiles[0]) if tiles else ""
    return mode[:-1] in _MODES


def is_dim(image: Image.Image) -> bool:
    """Whether the upper bytes of a decoded image show that it has values of fewer bits only."""
    return _highest(image) < 1 << (max(SENSOR_BITS) - 8)


def take_lower_bytes(image: Image.Image) -> None:
    """Have an image that `is_deep` decoded to the lower bytes of its colours."""
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]
        mode = _raw_mode(tile)
        other = mode[:-1] + _OTHER_ORDER[mode[-1]]
        tiles.append(tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:])))
    image.tile = tiles  # type: ignore[attr-defined]


def add_lower_bytes(image: Image.Image, lower: Image.Image) -> None:
    """Scale the colours of a dim image by the range in use, with the lower bytes of the same picture."""
    highest = _highest(image)
    most = next((1 << bits) - 1 for bits in (8, *SENSOR_BITS) if highest < 1 << (bits - 8))
    for top in range(0, image.height, _ROWS):
        box = 0, top, image.width, min(top + _ROWS, image.height)
        upper = np.asarray(image.crop(box))
        scaled = ((upper.astype(np.uint32) << 8) + np.asarray(lower.crop(box))) * 255 // most
        scaled[..., 3:] = upper[..., 3:]  # transparency has all bits
        image.paste(Image.fromarray(scaled.astype(np.uint8), image.mode), box)


def _highest(image: Image.Image) -> int:
    return max(int(high) for _, high in image.getextrema()[:3])  # type: ignore[misc]


def _raw_mode(tile: ImageFile._Tile) -> str:
    mode = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return mode if isinstance(mode, str) else ""
