"""The methods by name. A new method is a file of its own and one line here; CONTRIBUTING.md shows one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hashcli.errors import HashcliError, did_you_mean

if TYPE_CHECKING:
    from hashcli.distillation.trainer import Method, UnpairedMethod

# Each module defines METHOD. They are named here, not imported, since they need torch and the names alone do not.
METHODS = {
    "soda": "hashcli.distillation.soda",
    "ckdh": "hashcli.distillation.ckdh",
    "lcdh": "hashcli.distillation.lcdh",
    "itq": "hashcli.distillation.itq",
    "rank": "hashcli.distillation.rank",
}
DEFAULT_METHOD = "soda"
DEFAULT_WITHOUT_TEXTS = "rank"  # for photos of which none has a text


def load_method(name: str) -> "Method[Any] | UnpairedMethod[Any]":
    """A method by its name. Raises HashcliError for a name that is not registered."""
    if name not in METHODS:
        raise HashcliError(
            f"There is no method {name!r}.{did_you_mean(name, METHODS)}", f"Methods: {', '.join(METHODS)}."
        )
    method: Method[Any] | UnpairedMethod[Any] = import_module(METHODS[name]).METHOD
    return method
