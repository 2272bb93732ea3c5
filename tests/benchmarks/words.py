"""What a search by words and meaning finds, against one by meaning alone: captions, and names.

    python -m tests.benchmarks.words FLICKR8K

FLICKR8K holds Flickr8k in its official layout. Its 1,000 dev photos are indexed with lite-256 under the names that they
have. The first caption of each is searched for, while the index holds no texts, and while it holds two other captions
of each photo, or of every fifth. Then made-up names, alone and in a sentence, each of which stands in a caption, the
keywords, the file name or the folder of one photo.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import hashcli
from hashcli.datasets.registry import load_dataset
from hashcli.index.search import Index

NAMES = 25  # of each kind
_KEYWORDS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>{}</rdf:li></rdf:Bag>'
    "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def captions(index: Index, photos: Sequence[Path], texts: Sequence[Sequence[str]]) -> None:
    """Prints recall@10 of the first captions."""
    queries, limit = [of_photo[0] for of_photo in texts], hashcli.DistanceLimit()
    for every, which in ((0, "no texts"), (5, "2 captions of a fifth"), (1, "2 captions of each")):
        captions = photos[0].parent / "captions.jsonl"
        listed = range(0, len(photos), every) if every else ()
        rows = [{"image": photos[row].name, "text": text} for row in listed for text in texts[row][1:3]]
        captions.write_text("".join(json.dumps(row) + "\n" for row in rows))
        index.update([str(photos[0].parent), *([str(captions)] if rows else [])])
        for words in ("off", "first"):
            found = index.search_many(queries, 10, limit=limit, words=words)
            hits = [str(photo) in {one.path for one in results} for photo, results in zip(photos, found, strict=True)]
            print(f"{which}, words={words}: recall@10 {sum(hits) / len(hits):.1%} of {len(hits)} captions")


def names(index: Index, photos: Sequence[Path], seed: int) -> None:
    """Prints for how many names the photo that has it is found first."""
    drawn = random.Random(seed)
    folder = photos[0].parent
    made_up = ["".join(drawn.choice("bdfgklmnprstvz") + drawn.choice("aeiou") for _ in range(4)) for _ in range(1000)]
    kinds = ("caption", "keywords", "file name", "folder")
    named = dict(zip(dict.fromkeys(made_up), [kind for kind in kinds for _ in range(NAMES)], strict=False))
    expected = {}
    for (name, kind), photo in zip(named.items(), drawn.sample(list(photos), len(named)), strict=True):
        expected[name] = photo
        if kind == "caption":
            photo.with_suffix(".txt").write_text(f"a day out with {name.title()}")
        elif kind == "keywords":
            photo.with_suffix(".xmp").write_text(_KEYWORDS.format(name.title()))
        else:
            expected[name] = folder / f"{name.title()} 1.jpg" if kind == "file name" else folder / name / photo.name
            expected[name].parent.mkdir(exist_ok=True)
            photo.rename(expected[name])
    index.update(str(folder))
    for sentence in ("{}", "a photo of people with {}"):
        for words in ("off", "first"):
            found = index.search_many([sentence.format(name) for name in named], 1, words=words)
            firsts = [results[0].path if len(results) else "" for results in found]
            for kind in kinds:
                of_kind = [
                    str(expected[name]) == first
                    for name, first in zip(named, firsts, strict=True)
                    if named[name] == kind
                ]
                print(f"{sentence!r}, in the {kind}, words={words}: {sum(of_kind)} of {len(of_kind)} are first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flickr8k", metavar="FLICKR8K")
    parser.add_argument("--seed", type=int, default=0, help="draws the names (default: %(default)s)")
    arguments = parser.parse_args()
    dataset = load_dataset("flickr8k", arguments.flickr8k)
    rows = dataset.parts["dev"].tolist()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work).resolve()
        (folder / "photos").mkdir()
        photos = [Path(shutil.copy(dataset.images[row], folder / "photos")) for row in rows]
        with hashcli.open_index(folder / "index", create=True) as index:
            index.update(str(folder / "photos"))
            captions(index, photos, [dataset.texts[row] for row in rows])
            names(index, photos, arguments.seed)


if __name__ == "__main__":
    main()
