"""Real photos in every format that can be written, changed at random, among others that are sound.

Nothing crashes or hangs, memory is bounded, the sound photos are indexed, and each of the others is indexed or named.
"""

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

from PIL import Image

from hashcli.hashmodel.formats import photo_suffixes
from tests.conftest import SKIMAGE
from tests.faults.bench import Bench, check

MUTATED = 60  # in one trial

# Variants that decoders treat in a way of their own: the format, the mode of the picture, and options.
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("JPEG", "L", {"restart_marker_rows": 1}),
    ("PNG", "I;16", {}),
    ("PNG", "P", {}),
    ("PNG", "RGBA", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "CMYK", {}),
    ("PPM", "L", {}),
]
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO")
ODD_NUMBERS = (0, 1, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def trial(bench: Bench) -> None:
    folder = bench.folder / "photos"
    bench.make_photos(folder, 3)
    sound = list(folder.iterdir())
    contents = written_photos()
    for number in range(MUTATED):
        suffix, content = bench.rng.choice(contents)
        (folder / f"mutated-{number:03}{suffix}").write_bytes(mutated(content, bench.rng))
    done = bench.update(folder)
    check(done.status in (0, 3), f"indexing ends with {done.status}: {done.errors}")
    held = {os.path.join(bench.folder, str(path)) for kind, path, *_ in bench.held() if kind == 0}
    for photo in sound:
        check(str(photo) in held, f"{photo} is lost among mutated images")
    for photo in folder.iterdir():
        check(str(photo) in held or str(photo) in done.errors, f"{photo} is neither indexed nor named: {done.errors}")
    page = bench.run(
        "search", "a cat", "--all", "-k", 100, "--index", bench.index, "--html", bench.folder / "page.html"
    )
    check(page.status == 0, f"a page of mutated images fails: {page.errors}")


def written_photos() -> list[tuple[str, bytes]]:
    """A photo in every format that is read and can be written here: its suffix and its content."""
    photo = Image.open(SKIMAGE / "chelsea.png").convert("RGB").resize((120, 80))
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a cat", 6
    suffixes = {name: suffix for suffix, name in sorted(Image.registered_extensions().items(), reverse=True)}
    suffixes = {name: suffix for name, suffix in suffixes.items() if suffix in photo_suffixes()} | {"MPO": ".mpo"}
    modes = ("RGB", "P", "L", "1", "F")
    variants: list[tuple[str, str, dict[str, Any]]] = [(name, mode, {}) for name in suffixes for mode in modes]
    variants += [(name, "RGB", {"exif": exif.tobytes()}) for name in suffixes]
    more = [photo.rotate(angle) for angle in (10, 20)]
    variants += [(name, "RGB", {"save_all": True, "append_images": more}) for name in ANIMATED]
    contents = []
    for name, mode, options in variants + VARIANTS:
        content = BytesIO()
        try:
            (photo.convert("L") if mode == "I;16" else photo).convert(mode).save(content, name, **options)
        except Exception:  # each plugin raises what it likes
            continue  # the format cannot be written, or not in this mode
        contents.append((suffixes[name], content.getvalue()))
    return contents


def mutated(content: bytes, rng: Random) -> bytes:
    changed = bytes(rng.choice(MUTATIONS)(bytearray(content), rng))
    if changed.startswith(b"\x89PNG") and rng.random() < 0.7:
        return with_right_checksums(changed)  # else the damage gets no further than these
    return changed


def _flip(content: bytearray, rng: Random) -> bytearray:
    for _ in range(rng.choice([1, 3, 50])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def _flip_head(content: bytearray, rng: Random) -> bytearray:
    for _ in range(rng.randrange(1, 6)):
        content[rng.randrange(min(len(content), 100))] = rng.randrange(256)
    return content


def _cut(content: bytearray, rng: Random) -> bytearray:
    return content[: rng.randrange(len(content))]


def _cut_out(content: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(len(content))
    del content[start : start + rng.randrange(1, 200)]
    return content


def _insert(content: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(len(content))
    content[start:start] = rng.choice([rng.randbytes(50), bytes(200), content[start : start + 300] * 3])
    return content


def _odd_number(content: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(min(len(content), rng.choice([60, 300, len(content)])))
    content[start : start + 4] = struct.pack(rng.choice(["<I", ">I"]), rng.choice(ODD_NUMBERS))
    return content


MUTATIONS: list[Callable[[bytearray, Random], bytearray]] = [_flip, _flip_head, _cut, _cut_out, _insert, _odd_number]


def with_right_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them."""
    result, start = png[:8], 8
    while start + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, start)
        body = png[start + 4 : start + 8 + length]
        result += png[start : start + 4] + body + struct.pack(">I", zlib.crc32(body))
        start += 12 + length
    return result + png[start:]
