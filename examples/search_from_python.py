"""Index a folder of photos and search it, from Python instead of the command line.

    python examples/search_from_python.py ~/Pictures "dog on a beach"

Reads and writes the same index folder as `hashcli --index ./photo-index` would.
"""

import sys
from pathlib import Path

from hashcli.index.catalog import Kind
from hashcli.index.files.paths import canonical
from hashcli.index.search import Index
from hashcli.index.summary import UpdateCallback
from hashcli.index.update import update


class Quiet(UpdateCallback):
    """Prints only what was skipped."""

    def skipped(self, path: str, reason: str) -> None:
        print(f"skipped {path}: {reason}", file=sys.stderr)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    photos, words = sys.argv[1:]
    folder = Path("photo-index").resolve()
    update(folder, [canonical(photos)], callback=Quiet())
    with Index(folder) as index:
        (output,) = index.load_model().encode_texts([words])
        for match in index.nearest(Kind.IMAGE, output, k=5):
            print(f"{match.distance:>4} of {match.bits} bits differ  {match.path}")


if __name__ == "__main__":
    main()
