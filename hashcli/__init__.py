"""Find photos by meaning, on short binary codes compared by Hamming distance.

    import hashcli

    with hashcli.open_index("photo-index", create=True) as index:
        index.update(["~/Pictures"])
        for result in index.search("dog on a beach", k=5):
            print(result.path, result.distance)

    model = hashcli.load_model("lite-256")
    codes = hashcli.pack(model.encode_texts(["a dog"]))

Whatever is imported from here loads its libraries when it is first used.
"""

TYPE_CHECKING = False  # typing itself takes a while to import, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from typing import Any

    from hashcli.errors import HashcliError as HashcliError
    from hashcli.hashmodel.codes import pack as pack
    from hashcli.hashmodel.model import HashModel as HashModel
    from hashcli.hashmodel.registry import load_model as load_model
    from hashcli.index.distance_limit import DistanceLimit as DistanceLimit
    from hashcli.index.filter import Filter as Filter
    from hashcli.index.query import Query as Query
    from hashcli.index.results import SearchResult as SearchResult
    from hashcli.index.results import SearchResults as SearchResults
    from hashcli.index.results import WhyNone as WhyNone
    from hashcli.index.search import Index as Index
    from hashcli.index.search import open_index as open_index
    from hashcli.index.summary import UpdateSummary as UpdateSummary
    from hashcli.index.update_callback import UpdateCallback as UpdateCallback

__version__ = "0.3.0"

_MODULES = {
    "DistanceLimit": "hashcli.index.distance_limit",
    "Filter": "hashcli.index.filter",
    "HashModel": "hashcli.hashmodel.model",
    "HashcliError": "hashcli.errors",
    "Index": "hashcli.index.search",
    "Query": "hashcli.index.query",
    "SearchResult": "hashcli.index.results",
    "SearchResults": "hashcli.index.results",
    "UpdateCallback": "hashcli.index.update_callback",
    "UpdateSummary": "hashcli.index.summary",
    "WhyNone": "hashcli.index.results",
    "load_model": "hashcli.hashmodel.registry",
    "open_index": "hashcli.index.search",
    "pack": "hashcli.hashmodel.codes",
}
__all__ = [
    "DistanceLimit",
    "Filter",
    "HashModel",
    "HashcliError",
    "Index",
    "Query",
    "SearchResult",
    "SearchResults",
    "UpdateCallback",
    "UpdateSummary",
    "WhyNone",
    "__version__",
    "load_model",
    "open_index",
    "pack",
]


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        raise AttributeError(f"module 'hashcli' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
