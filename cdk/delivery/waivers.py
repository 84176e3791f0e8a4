"""Waivers of dangerous changes: `waivers/<environment>.yaml`, reviewed as code is."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cdk.delivery.danger import Waiver
from cdk.yaml_lines import read_yaml
from platform_lib.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[1] / "waivers"
_WAIVERS: TypeAdapter[tuple[Waiver, ...]] = TypeAdapter(tuple[Waiver, ...])


def read_waivers(environment: str, folder: Path = FOLDER) -> tuple[Waiver, ...]:
    """Read an environment's waivers; none where there is no file.

    Raises:
        ConfigError: The file is not what waivers are.
    """
    path = folder / f"{environment}.yaml"
    if not path.is_file():
        return ()
    document = read_yaml(path)
    unknown = set(document.content) - {"waivers"}
    if unknown:
        raise ConfigError(f"'{min(unknown)}' is no key", where=path, remedy="the only key is `waivers`")
    try:
        return _WAIVERS.validate_python(document.content.get("waivers") or ())
    except ValidationError as error:
        first = error.errors()[0]
        at = ("waivers", *first["loc"])
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"'{name}': {first['msg']}",
            where=document.where(at),
            remedy="a waiver has stack, address, action, reason, approver and expires",
        ) from error
