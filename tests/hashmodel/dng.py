"""Camera RAW files for tests: DNG is the one RAW format that is open, a TIFF with the sensor's data in it."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SIGNED_RATIONAL = 1, 2, 3, 4, 5, 10
_FORMATS = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _SIGNED_RATIONAL: "i"}
Tag = tuple[int, int, bytes | list[int]]


def write_dng(path: Path, photo: Image.Image, preview: Image.Image | None, orientation: int = 1) -> None:
    """Write a photo as an RGGB mosaic of 16 bits, of even width and height, with a JPEG preview if there is one."""
    width, height = photo.width // 2 * 2, photo.height // 2 * 2
    pixels = np.asarray(photo.convert("RGB").crop((0, 0, width, height))).astype("<u2") * 257
    mosaic = pixels[:, :, 1].copy()
    mosaic[0::2, 0::2] = pixels[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = pixels[1::2, 1::2, 2]
    out = bytearray(b"II*\0\0\0\0\0")

    def put(data: bytes) -> int:
        out.extend(bytes(len(out) % 2))
        out.extend(data)
        return len(out) - len(data)

    def directory(tags: list[Tag]) -> int:
        entries = []
        for number, kind, values in sorted(tags, key=lambda tag: tag[0]):
            data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values)
            count = len(values) // (2 if kind in (_RATIONAL, _SIGNED_RATIONAL) else 1)
            value = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", put(data))
            entries.append(struct.pack("<HHI", number, kind, count) + value)
        return put(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))

    def picture(
        kind: int, size: tuple[int, int], bits: list[int], compression: int, photometric: int, data: bytes
    ) -> list[Tag]:
        return [
            (254, _LONG, [kind]),
            (256, _LONG, [size[0]]),
            (257, _LONG, [size[1]]),
            (258, _SHORT, bits),
            (259, _SHORT, [compression]),
            (262, _SHORT, [photometric]),
            (273, _LONG, [put(data)]),
            (277, _SHORT, [len(bits)]),
            (278, _LONG, [size[1]]),
            (279, _LONG, [len(data)]),
        ]

    sensor = picture(0, (width, height), [16], 1, 32803, mosaic.tobytes())
    sensor += [(33421, _SHORT, [2, 2]), (33422, _BYTE, bytes([0, 1, 1, 2])), (50717, _LONG, [65535])]
    main: list[Tag] = [
        (270, _ASCII, b"a cat looks up\0"),
        (271, _ASCII, b"Tests\0"),
        (272, _ASCII, b"Tests One\0"),
        (274, _SHORT, [orientation]),
        (34665, _LONG, [directory([(36867, _ASCII, b"2021:07:04 12:30:00\0")])]),
        (50706, _BYTE, bytes([1, 4, 0, 0])),
        (50708, _ASCII, b"Tests One\0"),
        (50721, _SIGNED_RATIONAL, [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
        (50728, _RATIONAL, [1, 1, 1, 1, 1, 1]),
    ]
    if preview is None:
        main += sensor
    else:
        jpeg = BytesIO()
        preview.save(jpeg, "JPEG", quality=95)
        main += picture(1, preview.size, [8, 8, 8], 7, 6, jpeg.getvalue())
        main.append((330, _LONG, [directory(sensor)]))
    struct.pack_into("<I", out, 4, directory(main))
    path.write_bytes(out)
