"""Packed binary codes: bit i of an item is 1 where output i of the hash model is above 0."""

import numpy as np


def pack(outputs: np.ndarray) -> np.ndarray:
    """Float outputs [n, bits] of a hash model to packed codes, uint8 [n, bits / 8].

    Bit i is 1 where output i > 0, so 0 and NaN give 0. Bits are in little order: bit 0 is the lowest of the first byte.
    `bits` must be a multiple of 8, as it is for every hash model. Codes are compared by Hamming distance:

        codes = pack(model.encode_texts(["a dog", "a cat"]))
        distance = np.bitwise_count(codes[0] ^ codes[1]).sum()
    """
    return np.packbits(outputs > 0, axis=1, bitorder="little")


def unpack(codes: np.ndarray) -> np.ndarray:
    """Packed codes, uint8 [n, bits / 8], to float32 [n, bits]: +1 where a bit is 1, and -1 where it is 0."""
    return np.unpackbits(codes, axis=1, bitorder="little").astype(np.float32) * 2 - 1
