"""Loads a function that a caller brings: ``module:function`` of what is installed, or ``file.py:function``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from platform_lib.errors import ConfigError, MissingPartError


def own_function(name: str) -> tuple[Callable[..., Any], str]:
    """Return a function by name, and the sha256 of its module's source.

    Raises:
        ConfigError: It is no such name, or the file does not run.
        MissingPartError: There is no such module, file or function.
    """
    place, sign, function = name.rpartition(":")
    if not sign or not place or not function:
        raise ConfigError(f"'{name}' names no function", remedy="name it as module:function or file.py:function")
    module = _load(place, name)
    found = getattr(module, function, None)
    if not callable(found):
        raise MissingPartError(f"there is no function '{function}'", where=place, remedy="name one that it defines")
    source = Path(module.__file__).read_bytes() if module.__file__ else b""
    return found, hashlib.sha256(source).hexdigest()


def _load(place: str, name: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise MissingPartError(
                f"cannot be imported ({error})", where=place, remedy="name an installed module, or a file.py:function"
            ) from error
    path = Path(place)
    if not path.is_file():
        raise MissingPartError("no such file", where=path, remedy="name a Python file that defines it")
    spec = importlib.util.spec_from_file_location(f"own_code_{hashlib.sha256(name.encode()).hexdigest()[:8]}", path)
    assert spec is not None  # noqa: S101 - the name ends with .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in it looks itself up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"does not run ({error})", where=path, remedy="mend the file; it is run as it is") from error
    return module
