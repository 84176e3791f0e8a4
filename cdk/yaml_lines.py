"""YAML with the line of every key, so that a refusal can name the line that is to be changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from platform_lib.errors import ConfigError

# Where a value stands: keys and list positions from the top.
KeyPath = tuple[str | int, ...]
# Aliases make a small file large, or endless: an environment has some hundred values, five deep.
_MOST_VALUES = 20_000
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file's content.

    Attributes:
        path: The file.
        content: Plain dictionaries, lists and scalars.
        lines: The line (from 1) of each key path; of a list's element, the line where it begins.
    """

    path: Path
    content: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def where(self, at: KeyPath) -> str:
        """Return `file:line` of a key path, or of the nearest one above that the file has."""
        for length in range(len(at), 0, -1):
            if at[:length] in self.lines:
                return f"{self.path}:{self.lines[at[:length]]}"
        return str(self.path)


def read_yaml(path: Path) -> Document:
    """Read one YAML mapping, each key once.

    Raises:
        ConfigError: No such file, no YAML, no mapping at the top, a key that stands twice, a value that is none, or more
            values than any file here has.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=path, remedy="name a readable YAML file") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise ConfigError(f"is no YAML: {problem}", where=f"{path}{line}", remedy="mend the syntax there") from error
    except RecursionError as error:
        raise _too_much(path) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            "holds no mapping", where=path, remedy="write `key: value` lines, as the other environments do"
        )
    lines: dict[KeyPath, int] = {}
    content = _plain(root, (), lines, path)
    return Document(path, content, lines)


def _plain(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> Any:
    if len(at) > _DEEPEST or len(lines) > _MOST_VALUES:
        raise _too_much(path)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, at, lines, path)
    if isinstance(node, yaml.SequenceNode):
        found = []
        for number, item in enumerate(node.value):
            lines[(*at, number)] = item.start_mark.line + 1
            found.append(_plain(item, (*at, number), lines, path))
        return found
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        said = getattr(error, "problem", None) or str(error).partition(";")[0]
        raise ConfigError(
            f"a value cannot be read: {said}",
            where=f"{path}:{node.start_mark.line + 1}",
            remedy="mend it; put it between quotes where it is a text, and leave `!` tags out",
        ) from error


def _too_much(path: Path) -> ConfigError:
    return ConfigError(
        f"holds more than {_MOST_VALUES} values, or lists more than {_DEEPEST} deep, its aliases (`*name`) counted",
        where=path,
        remedy="write values out instead of aliases of aliases",
    )


def _mapping(node: yaml.MappingNode, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError("a key is no text", where=f"{path}:{line}", remedy="write `key: value`")
        key = str(key_node.value)
        if key in found:
            first = lines[(*at, key)]
            raise ConfigError(
                f"'{key}' stands twice, first in line {first}", where=f"{path}:{line}", remedy="keep one of them"
            )
        lines[(*at, key)] = line
        found[key] = _plain(value, (*at, key), lines, path)
    return found
