"""Words in photos, read by RapidOCR, whose models are in its wheel: nothing is downloaded."""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashcli.errors import HashcliError, how_to_install
from hashcli.hashmodel.images import load_thumbnail
from hashcli.index.files.text_files import MAX_CHARACTERS, shortened

if TYPE_CHECKING:
    from PIL import Image

SIDE = 2000  # pixels of the longer side: a line of a page takes about 25
_DETECTION_SIDE = 1280  # to find where the words are takes fewer: of a page of 48 lines, 1600 found no more of them
_THINNEST = 32  # pixels of the shorter side, below which RapidOCR would make the photo many times larger
_MOST_LINES = 300  # of a photo: bounds how long one can take, which is 17 seconds of CPU time for so many numbers
MIN_CONFIDENCE = 0.8  # of a line; with less, hardly a line that was read in 400 photos of COCO and ImageNet was a word
_FEWEST_CHARACTERS = 2  # letters and digits of a line: single ones are seen in windows and fences

OCR_MISSING = "reading the words in photos needs an extra that is not installed"


class OcrMissingError(HashcliError):
    """RapidOCR is not installed."""

    def __init__(self) -> None:
        super().__init__(f"{OCR_MISSING.capitalize()}.", how_to_install("ocr"))


def check_ocr_installed() -> None:
    """Raises OcrMissingError."""
    if importlib.util.find_spec("rapidocr") is None:
        raise OcrMissingError


def load_photo(path: str | os.PathLike[str]) -> "Image.Image":
    """A photo as `Ocr` takes it, upright and no larger than needed. Raises as load_thumbnail does."""
    return load_thumbnail(path, SIDE)


class Ocr:
    """Reads the words in photos, on all cores. Use it in one thread only."""

    def __init__(self) -> None:
        """Raises OcrMissingError, and HashcliError for a RapidOCR that comes without its models."""
        try:
            import rapidocr
        except ImportError as error:
            raise OcrMissingError from error
        models = Path(rapidocr.__file__).parent / "models"
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",  # it says of every photo without words that it has none
                "Global.text_score": MIN_CONFIDENCE,
                "Global.use_cls": False,  # the photo is upright
                "Global.max_side_len": SIDE,
                "Det.model_path": _model(models, "det"),  # without a path, one that is not there is downloaded
                "Det.limit_type": "max",
                "Det.limit_side_len": _DETECTION_SIDE,
                "Det.max_candidates": _MOST_LINES,
                "Rec.model_path": _model(models, "rec"),
            }
        )

    def texts(self, photo: "Image.Image") -> list[str]:
        """What can be read in a photo as `load_photo` gives it: its lines from top to bottom, as one text or, if that
        is too long for a text of the index, several."""
        if min(photo.size) < _THINNEST:
            return []
        read = self._engine(np.ascontiguousarray(np.asarray(photo)[:, :, ::-1]))  # BGR
        return list(_joined(line for line in read.txts or () if _is_text(line)))


def _model(folder: Path, task: str) -> str:
    found = sorted(folder.glob(f"*_{task}_*.onnx"))
    if not found:
        raise HashcliError(f"RapidOCR comes without its models: {folder} has none.", how_to_install("ocr"))
    return str(found[0])


def _is_text(line: str) -> bool:
    return sum(map(str.isalnum, line)) >= _FEWEST_CHARACTERS


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines, put together to texts of at most MAX_CHARACTERS."""
    text = ""
    for line in map(shortened, lines):
        if text and len(text) + 1 + len(line) > MAX_CHARACTERS:
            yield text
            text = ""
        text = f"{text} {line}".strip()
    if text:
        yield text
