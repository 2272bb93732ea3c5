"""The description of the JSON interface, as OpenAPI 3.1."""

from typing import Any

import hashcli
from hashcli.serve.parameters import PARAMETERS
from hashcli.serve.thumbnails import SIDES

_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "From a result."}
_SIDE = {"name": "side", "in": "query", "schema": {"type": "integer", "enum": list(SIDES)}}
_DOWNLOAD = {
    "name": "download",
    "in": "query",
    "schema": {"type": "string"},
    "description": "If it is there, with whatever value, browsers save the file and do not show it.",
}
_NULLABLE = {"type": ["integer", "null"]}
_RESULT = {
    "type": "object",
    "description": "A result, as the command line prints it as JSON, with its id.",
    "required": ["id", "rank", "kind", "path", "distance", "similarity"],
    "properties": {
        "id": {"type": "string"},
        "rank": {"type": "integer"},
        "kind": {"type": "string", "enum": ["image", "text"]},
        "path": {"type": "string"},
        "path_bytes": {"type": "string", "description": "In base64, of a path that is not UTF-8."},
        "distance": _NULLABLE,
        "similarity": {"type": ["number", "null"]},
        "words": {"type": "array", "items": {"type": "string"}},
        "text": {"type": "string"},
        "line": {"type": "integer"},
        "photo": {"type": "string"},
        "taken": {"type": "string"},
        "modified": {"type": ["string", "null"]},
        "date_from": {"type": ["string", "null"]},
        "latitude": {"type": "number"},
        "longitude": {"type": "number"},
        "copies": {"type": "integer"},
        "missing": {"type": "boolean"},
        "machine": {"type": "string"},
    },
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_RESULTS = {
    "type": "object",
    "required": ["results", "total"],
    "properties": {
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
        "total": {"type": "integer", "description": "How many results there are, k at most for each kind."},
        "why_none": {"type": ["string", "null"]},
        "nearest_distance": _NULLABLE,
        "unknown_words": {"type": "array", "items": {"type": "string"}},
        "facets": {"type": "object", "additionalProperties": _COUNTS},
    },
}
_INDEXES = {
    "type": "object",
    "required": ["indexes"],
    "properties": {
        "indexes": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "What the index holds; if it cannot be read, why.",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "error": {"type": "string"}},
            },
        }
    },
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "remedy": {"type": "string"}},
}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _file(description: str, *types: str) -> dict[str, Any]:
    return {"description": description, "content": {kind: {} for kind in types}}


_FAILS = {"default": _json("What is wrong, and what to do.", _ERROR)}
_OF_SEARCH = [
    {"name": name, "in": "query", "schema": schema, "description": text} for name, (schema, text) in PARAMETERS.items()
]
_FOUND = {"200": _json("The results, best first.", {"$ref": "#/components/schemas/Results"})} | _FAILS
_FORM = {
    "required": True,
    "content": {
        "application/x-www-form-urlencoded": {
            "schema": {"type": "object", "properties": {"id": {"type": "array", "items": {"type": "string"}}}}
        }
    },
}


def _get(summary: str, parameters: list[dict[str, Any]], responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def document() -> dict[str, Any]:
    """The whole document, ready to be sent as JSON."""
    photo = {
        "200": _file("The file as it is.", "image/*", "application/octet-stream"),
        **_FAILS,
    }
    of_index = [parameter for parameter in _OF_SEARCH if parameter["name"] == "index"]
    of_similar = [parameter for parameter in _OF_SEARCH if parameter["name"] != "index"]  # the id is of one already
    upload = {
        "summary": "Upload a photo to search by; nothing is written into the index.",
        "parameters": of_index,
        "requestBody": {"required": True, "content": {"image/*": {}}},
        "responses": {"200": _json("Its id.", {"type": "object", "properties": {"id": {"type": "string"}}})} | _FAILS,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "hashcli", "version": hashcli.__version__},
        "paths": {
            "/api/search": _get("Search.", _OF_SEARCH, _FOUND),
            "/api/similar/{id}": _get("Search by an item's photo.", [_ID, *of_similar], _FOUND),
            "/api/info": _get("What the indexes hold.", [], {"200": _json("All of them.", _INDEXES)} | _FAILS),
            "/api/upload": {"post": upload},
            "/api/thumbnail/{id}": _get(
                "A thumbnail.", [_ID, _SIDE], {"200": _file("Upright, in sRGB.", "image/webp"), **_FAILS}
            ),
            "/api/photo/{id}": _get("The photo of an item.", [_ID, _DOWNLOAD], photo),
            "/api/zip": {
                "post": {
                    "summary": "Photos as a zip.",
                    "requestBody": _FORM,
                    "responses": {"200": _file("The zip.", "application/zip"), **_FAILS},
                }
            },
        },
        "components": {"schemas": {"Result": _RESULT, "Results": _RESULTS}},
    }
