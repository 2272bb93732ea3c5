"""An exported encoder is compared with the trained one."""

import numpy as np

from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack

TOLERANCE = 1e-4  # between the outputs of ONNX and of torch
BITS_EQUAL = 0.999
INT8_BITS_EQUAL = 0.98  # of an encoder whose weights were rounded to int8: only its bits are compared


def check_outputs(exported: np.ndarray, trained: np.ndarray, what: str, *, int8: bool = False) -> None:
    """Compare outputs [n, bits] of the exported and of the trained encoder. Raises HashcliError if they differ."""
    difference = float(np.abs(exported - trained).max())
    equal = bits_equal(exported, trained)
    close = difference <= TOLERANCE * max(1.0, float(np.abs(trained).max()))  # false if either is not a number
    if equal < (INT8_BITS_EQUAL if int8 else BITS_EQUAL) or not (close or int8):
        raise HashcliError(
            f"The exported {what} encoder differs from the trained one: outputs by up to {difference:.2g}, "
            f"{1 - equal:.2%} of the bits.",
            "This should not happen; the run folder holds the trained weights.",
        )


def bits_equal(outputs: np.ndarray, others: np.ndarray) -> float:
    """The share of bits that are the same in the codes of two sets of outputs [n, bits]."""
    return 1 - float(np.bitwise_count(pack(outputs) ^ pack(others)).sum()) / outputs.size
