"""The size of a JPEG XL picture from its first bytes: its library decodes a file as soon as it is opened."""

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width to height


def size_of(head: bytes) -> tuple[int, int] | None:
    """Width and height, after the SizeHeader of ISO/IEC 18181-1; None if `head` does not reach that far."""
    start = 0
    if head.startswith(_CONTAINER):
        start = head.find(b"jxlc") + 4
        if start < 4:
            start = head.find(b"jxlp") + 8  # the number of the part comes first
    if head[start : start + 2] != _CODESTREAM or len(head) < start + 12:
        return None
    bits = _Bits(int.from_bytes(head[start + 2 : start + 12], "little"))
    is_small = bits.take(1) == 1
    height = bits.side(is_small=is_small)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        return height * across // down, height
    return bits.side(is_small=is_small), height


class _Bits:
    """Numbers from a stream of bits, the lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken

    def side(self, *, is_small: bool) -> int:
        """The width or height."""
        return 8 * (self.take(5) + 1) if is_small else self.take((9, 13, 18, 30)[self.take(2)]) + 1
