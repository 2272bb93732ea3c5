"""Packed binary codes: bit i of an item is 1 where output i > 0."""

import numpy as np


def pack(outputs: np.ndarray) -> np.ndarray:
    """Float outputs [n, bits] to packed codes uint8 [n, bits / 8], the first bit lowest in the first byte."""
    return np.packbits(outputs > 0, axis=1, bitorder="little")


def unpack(codes: np.ndarray) -> np.ndarray:
    """Packed codes uint8 [n, bits / 8] to float32 [n, bits] of -1 and +1."""
    return np.unpackbits(codes, axis=1, bitorder="little").astype(np.float32) * 2 - 1
