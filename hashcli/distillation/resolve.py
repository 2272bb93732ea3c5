"""Where a run's settings come from: defaults, a TOML file over them, single settings over both; or a saved run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashcli.distillation.registry import DEFAULT_METHOD, METHODS, load_method
from hashcli.distillation.settings import Rule, Settings, shown
from hashcli.errors import HashcliError, did_you_mean, reason_of
from hashcli.parsing import parse_toml


@dataclass(frozen=True)
class _Source:
    """Values from one place, named in errors by `name`. With `several_methods`, other methods' settings are skipped."""

    name: str
    values: dict[str, Any]
    several_methods: bool = False


def resolve_settings(
    file: Path | None = None, assignments: Sequence[str] = (), base: Settings | None = None, **values: Any
) -> Settings:
    """The settings of a run, as the subclass of Settings that its method declares.

    Defaults (or those of `base`, a model to update) come first, then the TOML file, then assignments NAME=VALUE, then
    the values that are not None. The file may serve several methods, so settings of other methods are skipped in it;
    elsewhere they are an error.

    >>> resolve_settings(assignments=["epochs=5"], method="ckdh").epochs
    5

    Raises HashcliError naming a setting that is unknown or of another method, or a value that is not allowed.
    """
    sources = _sources(file, assignments, values)
    method = _named_method(sources) or (base.method if base else DEFAULT_METHOD)
    chosen = load_method(method).settings
    resolved = {name: getattr(base, name) for name in chosen.rules() if hasattr(base, name)}
    for source in sources:
        resolved |= _parsed(source, method, chosen.rules())
    return chosen(method=method, **resolved)


def named_method(file: Path | None = None, assignments: Sequence[str] = (), **values: Any) -> str | None:
    """The method that `resolve_settings` would find named; None where it would take the default.

    Raises HashcliError for a method that is not registered.
    """
    return _named_method(_sources(file, assignments, values))


def settings_from_json(saved: dict[str, Any]) -> Settings:
    """The settings of a saved run or model, also of another version.

    What has been added since has its default. Version 0.1 saved the settings of all methods together: those of other
    methods are dropped, as are those that no longer exist. Raises HashcliError for a method that is not registered.
    """
    chosen = load_method(saved["method"]).settings
    known = {name: saved[name] for name in chosen.rules() if name in saved}
    return chosen(method=saved["method"], **known | {"bits": tuple(saved["bits"])})


@dataclass(frozen=True)
class SettingDescription:
    """One line in the list of settings, as text. `method` is None for a setting that all methods share."""

    method: str | None
    name: str
    default: str
    allowed: str
    meaning: str


def describe_settings(method: str | None = None) -> list[SettingDescription]:
    """All settings, or those of one method: first the shared ones, then each method's own."""
    shared = Settings.rules()
    own = {
        one: {name: rule for name, rule in load_method(one).settings.rules().items() if rule is not shared.get(name)}
        for one in ([method] if method else METHODS)
    }
    listed = shared
    if method:  # it may declare another default for a shared setting, or have no use for one
        listed = {name: rule for name, rule in load_method(method).settings.rules().items() if name not in own[method]}
    described = [_describe(None, name, rule) for name, rule in listed.items()]
    return described + [_describe(one, name, rule) for one, rules in own.items() for name, rule in rules.items()]


def _describe(method: str | None, name: str, rule: Rule) -> SettingDescription:
    default = shown(rule.default)
    return SettingDescription(method, name, default, rule.allowed, rule.meaning)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return parse_toml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise HashcliError(f"{file} cannot be read: {reason_of(error)}.") from error
    except ValueError as error:
        raise HashcliError(f"{file} is not TOML: {error}.") from error


def _parse_assignment(assignment: str) -> dict[str, Any]:
    name, _, value = assignment.partition("=")
    try:
        return parse_toml(f"{name} = {value}")
    except ValueError:  # a word without quotes
        return {name: value}


def _sources(file: Path | None, assignments: Sequence[str], values: dict[str, Any]) -> list[_Source]:
    sources = [_Source(f"{file}: ", _read_toml(file), several_methods=True)] if file else []
    sources += [_Source(f"{assignment}: ", _parse_assignment(assignment)) for assignment in assignments]
    return [*sources, _Source("", {name: value for name, value in values.items() if value is not None})]


def _named_method(sources: Sequence[_Source]) -> str | None:
    """The method, which the last source that names one decides."""
    for source in reversed(sources):
        if "method" in source.values:
            method = source.values["method"]
            if not isinstance(method, str) or method not in METHODS:
                like = did_you_mean(str(method), METHODS)
                raise HashcliError(f"{source.name}method must be one of {', '.join(METHODS)}, not {method!r}.{like}")
            return method
    return None


def _parsed(source: _Source, method: str, rules: dict[str, Rule]) -> dict[str, Any]:
    parsed = {}
    for name, value in source.values.items():
        if name == "method":
            continue
        if name in rules:
            try:
                parsed[name] = rules[name].parse(value)
            except ValueError as error:
                raise HashcliError(f"{source.name}{name} must be {error}, not {value!r}.") from None
        elif not (owners := _owners().get(name)):
            like = did_you_mean(name, _owners())
            remedy = "" if like else f"Settings of {method}: {', '.join(rules)}."
            raise HashcliError(f"{source.name}there is no setting {name!r}.{like}", remedy)
        elif not source.several_methods:
            raise HashcliError(
                f"{source.name}{name} is a setting of {' and '.join(owners)}, and the method is {method}.",
                f"Leave {name} out, or choose the method {' or '.join(owners)}.",
            )
    return parsed


def _owners() -> dict[str, list[str]]:
    """The methods that have each setting, by the setting's name."""
    owners: dict[str, list[str]] = {}
    for method in METHODS:
        for name in load_method(method).settings.rules():
            owners.setdefault(name, []).append(method)
    return owners
