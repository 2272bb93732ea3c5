"""Photos of printed words, as a phone takes them of receipts and signs."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tests.conftest import SKIMAGE


def photograph(lines: Sequence[str], path: Path, size: tuple[int, int] = (640, 400)) -> None:
    """Save as a JPEG a photo of a sheet with some lines: before bricks, turned by two degrees, and not quite sharp."""
    photo = Image.open(SKIMAGE / "brick.png").convert("RGB").resize(size)
    sheet = Image.new("RGBA", (size[0] * 3 // 4, 30 * len(lines) + 30), (250, 248, 240, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for number, line in enumerate(lines):
        draw.text((18, 15 + 30 * number), line, (40, 40, 50), font=font)
    sheet = sheet.rotate(2, expand=True, resample=Image.Resampling.BICUBIC)
    photo.paste(sheet, ((size[0] - sheet.width) // 2, (size[1] - sheet.height) // 2), sheet)
    photo.filter(ImageFilter.GaussianBlur(0.7)).save(path, quality=60)
