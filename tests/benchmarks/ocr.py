"""How many words in photos `hashcli index --ocr` reads, and what it costs.

    python -m tests.benchmarks.ocr --photos 40 --seed 0

Words of the documentation are drawn on sheets and photographed, as in tests/index/photographed.py: turned by two
degrees, blurred, and saved as a JPEG of quality 60. So are words with letters that English does not have. The photos of
the tests show what is read where there is nothing.
"""

import argparse
import random
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import process_time

from hashcli.index.files.ocr import Ocr, load_photo
from hashcli.index.words import words_of
from tests.conftest import PHOTOS, SKIMAGE
from tests.index.photographed import photograph

DOCUMENTATION = Path(__file__).parent.parent.parent / "docs" / "photos.md"
ACCENTED = re.findall(
    r"\w+", "Käse Straße Grüße Müller Öl café crème gâteau naïve garçon señor mañana São Ærø Søren Århus Łódź Kraków"
)
LINES, WORDS_IN_LINE = 6, 4


def measure(ocr: Ocr, vocabulary: Sequence[str], photos: int, drawn: random.Random, folder: Path) -> str:
    read = words = 0
    seconds = 0.0
    for number in range(photos):
        lines = [" ".join(drawn.choices(vocabulary, k=WORDS_IN_LINE)) for _ in range(LINES)]
        photograph(lines, folder / f"{number}.jpg")
        began = process_time()
        texts = ocr.texts(load_photo(folder / f"{number}.jpg"))
        seconds += process_time() - began
        found = {word for text in texts for word in words_of(text)}
        expected = [word for line in lines for word in words_of(line)]
        words += len(expected)
        read += sum(word in found for word in expected)
    return f"{read / words:.1%} of {words} words are read; {seconds / photos:.2f} s of CPU a photo"


def without_words(ocr: Ocr, photos: Iterable[Path]) -> str:
    began, found, count = process_time(), [], 0
    for photo in photos:
        found += ocr.texts(load_photo(photo))
        count += 1
    return (
        f"{len(found)} of {count} photos have texts: {found}; {(process_time() - began) / count:.2f} s of CPU a photo"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=40, help="how many photos have words (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the words (default: %(default)s)")
    arguments = parser.parse_args()
    drawn, ocr = random.Random(arguments.seed), Ocr()
    english = sorted(set(re.findall(r"\b[A-Za-z]{3,}\b", DOCUMENTATION.read_text(encoding="utf-8"))))
    with tempfile.TemporaryDirectory() as work:
        print("English:", measure(ocr, english, arguments.photos, drawn, Path(work)))
        print("with accents:", measure(ocr, ACCENTED, arguments.photos, drawn, Path(work)))
    print("without words:", without_words(ocr, [SKIMAGE / name for name in PHOTOS]))


if __name__ == "__main__":
    main()
