"""The first door: a folder of YAML, a file an object, as Argo CD reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from cdk.cluster.kinds.addons import Application
from cdk.cluster.kinds.base import Manifest
from cdk.cluster.kinds.core import Namespace
from platform_lib.errors import ConfigError
from platform_lib.storage import publish_bytes

# Which files are ours: what is no longer an object goes, what others put there stays. Without an ending: kubectl and Argo
# CD take every .json of a folder for an object, one with a dot before its name too.
INDEX = ".drivetrain-manifests"
_FORMER_INDEX = ".drivetrain-manifests.json"
_PLAIN = re.compile(r"[^a-z0-9.-]+")
_APPLICATIONS = "applications"
# First by name, since `kubectl apply -R` goes by name and what lies in a namespace needs it.
_NAMESPACES = "0-namespaces"


def file_of(item: Manifest) -> str:
    """Return an object's file: its namespace (`cluster` where it has none), kind and name; namespaces in a folder of theirs."""
    if isinstance(item, Namespace):
        return f"{_NAMESPACES}/{item.metadata.name}.yaml"
    if isinstance(item, Application):
        return f"{_APPLICATIONS}/{item.metadata.name}.yaml"
    group = item.api_version.rpartition("/")[0].partition(".")[0]
    kind = f"{item.kind.lower()}.{group}" if group else item.kind.lower()
    return f"{item.metadata.namespace or 'cluster'}/{kind}-{_PLAIN.sub('-', item.metadata.name.lower())}.yaml"


def as_yaml(item: Manifest) -> bytes:
    """Return an object as YAML, always the same."""
    return yaml.safe_dump(
        item.document(), sort_keys=False, default_flow_style=False, allow_unicode=True, width=120
    ).encode()


def render(objects: Sequence[Manifest], folder: Path) -> list[Path]:
    """Write a cluster's objects, and take away what an earlier rendering left that is none any more.

    Args:
        objects: One cluster's.
        folder: Where; absent, empty, or written by this function before.

    Returns:
        The files, sorted.

    Raises:
        ConfigError: The folder holds something else.
    """
    before = _written_before(folder)
    contents = {file_of(item): as_yaml(item) for item in objects}
    if len(contents) != len(objects):
        raise ConfigError("two objects would be one file", where=folder, remedy="give them different names")
    for name in sorted(contents):
        path = folder / name
        if not path.is_file() or path.read_bytes() != contents[name]:
            publish_bytes(path, contents[name])
    # The index last: a rendering that was stopped leaves one that names too much, never too little.
    for name in sorted(before - contents.keys()):
        (folder / name).unlink(missing_ok=True)
    (folder / _FORMER_INDEX).unlink(missing_ok=True)
    publish_bytes(folder / INDEX, json.dumps({"files": sorted(contents)}, indent=1).encode() + b"\n")
    return [folder / name for name in sorted(contents)]


def _written_before(folder: Path) -> set[str]:
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise ConfigError("is no folder", where=folder, remedy="name a folder that is not there yet")
    index = folder / (INDEX if (folder / INDEX).is_file() else _FORMER_INDEX)
    if index.is_file():
        try:
            names = json.loads(index.read_bytes())["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{INDEX} is no list of files: {error}", where=folder, remedy="remove the folder and render again"
            ) from error
        return {str(item) for item in names if ".." not in Path(str(item)).parts and not Path(str(item)).is_absolute()}
    if any(folder.iterdir()):
        raise ConfigError(
            "holds files that this command did not write", where=folder, remedy="name an empty folder, or a new one"
        )
    return set()
