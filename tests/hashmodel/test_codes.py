import numpy as np

from hashcli.hashmodel.codes import pack, unpack


def test_pack_by_hand() -> None:
    """Bit i is 1 where output i > 0, the first bit is the lowest of the first byte; 0 and NaN are not above 0."""
    outputs = np.array([[0.1, -1, 2, 0, -0.0, np.nan, -3, 5, 9, -1, -1, -1, -1, -1, -1, -1]], np.float32)
    assert pack(outputs).tolist() == [[1 + 4 + 128, 1]]
    assert pack(outputs).dtype == np.uint8


def test_unpack_gives_the_signs() -> None:
    outputs = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    assert np.array_equal(unpack(pack(outputs)), np.where(outputs > 0, 1, -1))
