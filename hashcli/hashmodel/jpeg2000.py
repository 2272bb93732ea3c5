"""Very large JPEG 2000 files, decoded at half of their size or less: the library takes some 20 bytes a pixel.

After ITU-T T.800, annex A (markers) and section B.5 (sizes of resolution levels).
"""

from PIL import Image

BYTES = 5  # that decoding takes for each pixel and colour, beside the image itself

_MOST_PIXELS = 50_000_000  # decoded; smaller pictures are decoded whole
_HEAD = 1 << 20  # bytes, within which a file says how many levels it has
_START, _CODING_STYLE = b"\xff\x4f\xff\x51", b"\xff\x52"


def decode_smaller(image: Image.Image) -> None:
    """Have a very large image decoded at a lower resolution, if its file has one. Nothing happens to other formats.

    Pillow's own `reduce` fails for most sizes, as it rounds them in another way than the library.
    """
    if image.format != "JPEG2000" or not getattr(image, "tile", None):
        return
    levels = _levels(image)
    width, height = image.size
    reduction = 0
    while reduction < levels and (width >> reduction) * (height >> reduction) > _MOST_PIXELS:
        reduction += 1
    size = -(-width // (1 << reduction)), -(-height // (1 << reduction))
    (tile,) = image.tile  # type: ignore[attr-defined]
    codec, _, *rest = tile.args
    image._size = size
    image.tile = [tile._replace(extents=(0, 0, *size), args=(codec, reduction, *rest))]  # type: ignore[attr-defined]


def _levels(image: Image.Image) -> int:
    """How often the size can be halved."""
    file = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(place)
    start = head.find(_START) + 2
    while head[start : start + 1] == b"\xff" and start + 9 < len(head):
        if head[start : start + 2] == _CODING_STYLE:
            return int(head[start + 9])
        start += 2 + int.from_bytes(head[start + 2 : start + 4])
    return 0
