"""Environments by name: read, typed, and held against the rules, every finding with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cdk.lifecycle import LifecycleDocument
from cdk.model import Environment
from cdk.rules import Finding, findings
from cdk.yaml_lines import Document, KeyPath, read_yaml
from platform_lib.errors import ConfigError

ENVIRONMENTS = Path(__file__).parent / "environments"
_SHOWN_CHARS = 200


def environment_names(folder: Path = ENVIRONMENTS) -> list[str]:
    """Return the names of all environments, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_environment(name: str, *, today: date, folder: Path = ENVIRONMENTS) -> Environment:
    """Read one environment, whole or not at all.

    Args:
        name: The file's name without `.yaml`.
        today: The day support and exceptions are held against.
        folder: Where the files lie.

    Raises:
        ConfigError: No such environment, or something in it is wrong; all findings, each with its line and remedy.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = environment_names(folder)
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"take one of {', '.join(known)}, or add {path.name}"
        raise ConfigError(f"there is no environment '{name}'", where=folder, remedy=remedy)
    document = read_yaml(path)
    try:
        environment = Environment.model_validate(document.content)
    except ValidationError as error:
        raise _refusal(path, [_typed_finding(document, item) for item in _first_causes(error.errors())]) from error
    if environment.environment != name:
        where = document.where(("environment",))
        raise ConfigError(
            f"says environment: {environment.environment}",
            where=where,
            remedy=f"write `environment: {name}`, as its file",
        )
    found = [*_expressions(document.content, ()), *findings(environment, today)]
    if found:
        raise _refusal(path, [(document.where(item.at), item.what, item.remedy) for item in found])
    return _with_lifecycles(environment, document)


def _expressions(value: object, at: KeyPath) -> Iterator[Finding]:
    """Texts go into Terraform's JSON as they are, where `${...}` and `%{...}` are computed, files read among them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _expressions(item, (*at, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _expressions(item, (*at, number))
    elif isinstance(value, str) and ("${" in value or "%{" in value):
        name = ".".join(map(str, at))
        yield Finding(at, f"'{name}' holds an expression, which Terraform would compute", "write the value itself")


def _with_lifecycles(environment: Environment, document: Document) -> Environment:
    """Return the environment with the rules that its lifecycle files hold."""
    buckets = dict(environment.data.buckets)
    for name, bucket in buckets.items():
        if bucket.lifecycle_file is None:
            continue
        path = document.path.parent / bucket.lifecycle_file
        where = document.where(("data", "buckets", name.value, "lifecycle_file"))
        try:
            rules = LifecycleDocument.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"lifecycle file {bucket.lifecycle_file} cannot be read: {error.strerror}",
                where=where,
                remedy="write it: drivetrain cost tiering",
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"])) or "the file"
            raise ConfigError(
                f"lifecycle file {bucket.lifecycle_file}: {at}: {first['msg']}",
                where=where,
                remedy="write it anew: drivetrain cost tiering",
            ) from error
        buckets[name] = bucket.model_copy(update={"lifecycle": rules})
    return environment.model_copy(update={"data": environment.data.model_copy(update={"buckets": buckets})})


def _refusal(path: Path, found: list[tuple[str, str, str]]) -> ConfigError:
    if len(found) == 1:
        where, what, remedy = found[0]
        return ConfigError(what, where=where, remedy=remedy)
    lines = "\n".join(f"  {where}: {what}; {remedy}" for where, what, remedy in found)
    return ConfigError(f"{len(found)} things are wrong\n{lines}", where=path, remedy="mend each where it says")


def _first_causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where that is because one of its own elements was refused."""
    places = [item["loc"] for item in errors]
    return [
        item
        for item in errors
        if item["type"] != "too_short"
        or not any(len(at) > len(item["loc"]) and at[: len(item["loc"])] == item["loc"] for at in places)
    ]


def _typed_finding(document: Document, error: ErrorDetails) -> tuple[str, str, str]:
    at: KeyPath = tuple(item for item in error["loc"] if not str(item).startswith(("function-", "literal[", "tuple[")))
    name = ".".join(map(str, at))
    where = document.where(at)
    if error["type"] == "extra_forbidden":
        return where, f"'{name}' is no key", _near(at)
    if error["type"] == "missing":
        return where, f"'{name}' is missing", "add it"
    message = error["msg"]
    given = error.get("input")
    if error["type"] == "string_type" and isinstance(given, (int, float, date)):
        # YAML makes a number of `1.30`, 1.3, and a date of `2027-06-30`; what stands in the file is what was meant.
        return where, f"'{name}': must be a text, and is read as {type(given).__name__}", "put it between quotes"
    shown = "" if isinstance(given, (dict, list)) else f", not {_short(given)}"
    return where, f"'{name}': {message[0].lower()}{message[1:]}{shown}", "mend the value"


def _short(given: object) -> str:
    shown = repr(given)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."


def _near(at: KeyPath) -> str:
    from_model = _fields_at(at[:-1])
    near = difflib.get_close_matches(str(at[-1]), from_model, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"remove it; keys here are {', '.join(from_model)}" if from_model else "remove it"


def _fields_at(at: KeyPath) -> list[str]:
    schema = Environment.model_json_schema()
    place: dict[str, object] = schema
    for key in at:
        place = _resolved(schema, place)
        if isinstance(key, int):
            place = place.get("items", {})  # type: ignore[assignment]  # JSON schema
        else:
            inner: dict[str, object] = place.get("properties", {})  # type: ignore[assignment]  # JSON schema
            # A mapping's values: under a pattern, where its keys have one.
            others = [*place.get("patternProperties", {}).values(), place.get("additionalProperties"), {}]  # type: ignore[attr-defined]  # JSON schema
            place = inner.get(str(key)) or next(item for item in others if isinstance(item, dict))  # type: ignore[assignment]  # JSON schema
    return sorted(_resolved(schema, place).get("properties", {}))  # type: ignore[call-overload, no-any-return]  # JSON schema


def _resolved(schema: dict[str, object], place: dict[str, object]) -> dict[str, object]:
    for option in place.get("anyOf", ()):  # type: ignore[attr-defined]  # JSON schema
        if "$ref" in option or "items" in option:
            place = option
            break
    reference = place.get("$ref")
    if reference is None:
        return place
    return schema["$defs"][str(reference).rpartition("/")[2]]  # type: ignore[index, no-any-return]  # JSON schema
