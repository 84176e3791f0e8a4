"""A digest of the code a step runs: the content of its modules and of everything of ours that they import."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OWN_PACKAGES = ("platform_lib", "ray_jobs", "edge_compile", "cost", "cdk")
_RESOURCE_SUFFIXES = frozenset({".dbc", ".html", ".css", ".yaml", ".json", ".mako"})


def code_sha256(*modules: str) -> str:
    """Return the digest of the named modules, their own-package imports (also lazy ones), and resources beside them.

    Args:
        modules: Dotted names, for example ``"ray_jobs.train"``; a package stands for its ``__init__`` only.

    Raises:
        ValueError: A named module is none of ours or does not exist; its digest would cover nothing.
    """
    for name in modules:
        if _source(name) is None:
            raise ValueError(f"{name} is no module of {', '.join(OWN_PACKAGES)}")
    digest = hashlib.sha256()
    for path in sorted(_closure(modules)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _closure(modules: tuple[str, ...]) -> set[Path]:
    seen: dict[str, Path] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        path = _source(name)
        if name in seen or path is None:
            continue
        seen[name] = path
        queue.extend(_own_imports(path, name))
        if "." in name:
            queue.append(name.rpartition(".")[0])  # importing a.b runs a/__init__.py too
    files = set(seen.values())
    for folder in {path.parent for path in files}:
        files.update(item for item in folder.iterdir() if item.suffix in _RESOURCE_SUFFIXES)
    return files


@cache
def _source(name: str) -> Path | None:
    """Find a module's file by name alone: importing it to ask would load what it imports, and may need an extra."""
    package, *parts = name.split(".")
    spec = find_spec(package) if package in OWN_PACKAGES else None
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        place = Path(root, *parts)
        candidates = [place / "__init__.py", *([place.with_suffix(".py")] if parts else [])]
        found = next((item for item in candidates if item.is_file()), None)
        if found is not None:
            return found
    return None  # `from package.module import name`: the name is no module


@cache
def _own_imports(path: Path, module: str) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package=path.name == "__init__.py")
            names.append(base)
            names.extend(f"{base}.{alias.name}" for alias in node.names)
    return tuple(name for name in names if name.partition(".")[0] in OWN_PACKAGES)


def _absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    anchor = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*anchor, node.module] if node.module else anchor)
