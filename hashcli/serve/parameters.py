"""What a search takes in an address: the parameters, how they are read, and their description by OpenAPI."""

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from hashcli.errors import HashcliError, did_you_mean
from hashcli.index.filter import Filter
from hashcli.index.ranking import RERANKED
from hashcli.index.search_arguments import KINDS, SearchArguments, chosen_limit, chosen_words

MOST_RESULTS = 10_000
_MOST_TEXT = 2000  # characters of all values together
_TEXTS = {"type": "array", "items": {"type": "string"}}
_FLAG = {"type": "boolean", "default": False}
_DAY = {"type": "string"}

# The names are those of the options of `hashcli search`, but for what belongs to a page.
PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "text": (_TEXTS, "Words to look for. Several, and images, are to be found together."),
    "image": (_TEXTS, "The id of an item, or of an uploaded photo, to search by."),
    "not": (_TEXTS, "Words to steer away from."),
    "not_image": (_TEXTS, "The id of a photo to steer away from."),
    "index": ({"type": "string"}, "The name of the index; by default the first one."),
    "for": ({"type": "string", "enum": list(KINDS), "default": "photos"}, "What to look for."),
    "k": ({"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "default": 10}, "How many results at most."),
    "offset": ({"type": "integer", "minimum": 0, "default": 0}, "How many of these results to leave out first."),
    "count": ({"type": "integer", "minimum": 0}, "How many to send after that; by default all."),
    "facets": (_FLAG, "Also count the results by folder and by type, and photos by year."),
    "max_distance": ({"type": "integer", "minimum": 0}, "Only results at most this many bits away."),
    "within": ({"type": "integer", "minimum": 0}, "Only results at most this many bits further than the nearest."),
    "all": (_FLAG, "The nearest results even if they are too far away to match the words."),
    "in": (_TEXTS, "Only results in this folder."),
    "type": (_TEXTS, "Only files of this type, such as png."),
    "after": (_DAY, "Only photos from this day or later: 2023, 2023-05 or 2023-05-14."),
    "before": (_DAY, "Only photos from before this day."),
    "near": ({"type": "string"}, "Only photos taken near a place, such as 48.86,2.35,10km."),
    "words_only": (_FLAG, "Only photos whose texts, name or folders hold the words."),
    "no_words": (_FLAG, "Search by meaning alone."),
    "all_copies": (_FLAG, "Identical copies as results of their own."),
    "sort": ({"type": "string", "enum": ["rank", "date"], "default": "rank"}, "Best first, or newest photos first."),
    "rerank": (
        {"type": "integer", "minimum": 0, "maximum": MOST_RESULTS, "default": RERANKED},
        "How many to rank more finely.",
    ),
}


@dataclass(frozen=True)
class Asked:
    """A search: words and ids of photos, to look for and to steer away from, and its other arguments."""

    texts: tuple[str, ...]
    images: tuple[str, ...]
    nots: tuple[str, ...]
    not_images: tuple[str, ...]
    arguments: SearchArguments


@dataclass(frozen=True)
class Part:
    """Which of the results are sent, and whether they are counted too."""

    offset: int
    count: int | None
    facets: bool


def read_parameters(given: QueryParams, *images: str) -> tuple[Asked, Part]:
    """A search by the parameters of an address, and by more images. Raises HashcliError for what makes no sense."""
    for name in given:
        if name not in PARAMETERS:
            raise HashcliError(f"There is no parameter {name!r:.80}.{did_you_mean(name, PARAMETERS)}")
    if sum(len(value) for _, value in given.multi_items()) > _MOST_TEXT:
        raise HashcliError(f"The query is longer than {_MOST_TEXT} characters.")
    values = {name: _value(name, schema, given) for name, (schema, _) in PARAMETERS.items()}
    if values["words_only"] and values["no_words"]:
        raise HashcliError("words_only and no_words exclude each other.")
    arguments = SearchArguments(
        values["k"],
        KINDS[values["for"]],
        Filter(values["in"], values["type"], values["after"], values["before"], values["near"]),
        chosen_limit(values["max_distance"], values["within"], everything=values["all"]),
        chosen_words(only=values["words_only"], off=values["no_words"]),
        values["rerank"],
        values["all_copies"],
        values["sort"],
    )
    queries = (values["text"], (*images, *values["image"]), values["not"], values["not_image"])
    return Asked(*queries, arguments), Part(values["offset"], values["count"], values["facets"])


def _value(name: str, schema: dict[str, Any], given: QueryParams) -> Any:
    """The value of a parameter: given, or the one it has by default."""
    texts = tuple(text.strip() for text in given.getlist(name) if text.strip())
    if schema["type"] == "array":
        return texts
    if not texts:
        return schema.get("default")
    text = texts[-1]
    if schema["type"] == "boolean":
        if text.lower() not in ("0", "1", "false", "true"):
            raise HashcliError(f"{name} must be true or false, not {text!r:.80}.")
        return text.lower() in ("1", "true")
    if schema["type"] == "integer":
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise HashcliError(f"{name} must be a whole number, not {text!r:.80}.")
        if not schema["minimum"] <= int(text) <= schema.get("maximum", 10**9):
            most = f" and at most {schema['maximum']}" if "maximum" in schema else ""
            raise HashcliError(f"{name} must be at least {schema['minimum']}{most}.")
        return int(text)
    if text not in schema.get("enum", [text]):
        raise HashcliError(f"{name} must be one of {', '.join(schema['enum'])}, not {text!r:.80}.")
    return text
