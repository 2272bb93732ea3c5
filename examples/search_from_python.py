"""Index a folder of photos and search it: python examples/search_from_python.py ~/Pictures "dog on a beach" """

import sys

import hashcli

photos, words = sys.argv[1:]
with hashcli.open_index("photo-index", create=True) as index:
    for path, reason in index.update([photos]).skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    for result in index.search(words, k=5):
        print(f"{result.distance!s:>4} of {result.bits} bits differ  {result.path}")
