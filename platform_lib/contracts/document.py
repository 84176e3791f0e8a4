"""Contract files: read, held against the official JSON schema of ODCS, and found where they belong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft201909Validator
from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.exceptions import best_match
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError

from platform_lib.contracts.model import Contract
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.refusals import first_problem

PRODUCTS = Path(__file__).parent / "products"
HOME_FOLDER = "contracts"
SUFFIX = ".odcs.yaml"
_DEEPEST = 40


class _Loader(yaml.CSafeLoader):
    """YAML as JSON sees it: dates stay texts, and a key that stands twice is refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no text", node.start_mark)
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_document(path: Path) -> tuple[Mapping[str, Any], str]:
    """Read a contract file as plain values; return them and the digest of its bytes.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is not YAML, or no mapping.
    """
    remedy = f"compare it with {PRODUCTS / f'vehicle-signals{SUFFIX}'}"
    try:
        content = path.read_bytes()
        _refuse_towers(content, path)
        values = yaml.load(content, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingPartError("no contract file", where=path, remedy="name a *.odcs.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", where=path, remedy=remedy) from error
    if not isinstance(values, dict):
        raise ConfigError("not a contract: the file holds no mapping", where=path, remedy=remedy)
    return values, hashlib.sha256(content).hexdigest()


def _refuse_towers(content: bytes, path: Path) -> None:
    """Refuse what a few bytes blow up: towers of brackets, which the parser would climb on its stack, and aliases."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError("not a contract: it holds an alias (*)", where=path, remedy="write it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ConfigError(f"not a contract: nested deeper than {_DEEPEST}", where=path)


def schema_problems(values: Mapping[str, Any]) -> list[str]:
    """Say how a document breaks the official JSON schema of ODCS, each with its place; nothing where it does not."""
    found = []
    for error in sorted(_validator().iter_errors(dict(values)), key=lambda item: list(map(str, item.absolute_path))):
        close = best_match([error]) or error
        found.append(f"{_place(close)}: {_first_line(close.message)}")
    return found


@cache
def _validator() -> Draft201909Validator:
    # The wheel carries the standard's own schema file.
    text = resources.files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    return Draft201909Validator(json.loads(text))


def _place(error: SchemaError) -> str:
    return str(error.json_path).removeprefix("$.").removeprefix("$") or "document"


def _first_line(text: str) -> str:
    line = text.splitlines()[0]
    return line if len(line) <= 160 else f"{line[:157]}..."


def read_contract(path: Path) -> Contract:
    """Read a contract that the official schema accepts.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is no ODCS contract.
    """
    values, sha256 = read_document(path)
    if problems := schema_problems(values):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(
            f"no ODCS contract: {problems[0]}{more}", where=path, remedy=f"`drivetrain contract lint {path}`"
        )
    try:
        return Contract(OpenDataContractStandard.model_validate(values), sha256, path)
    except ValidationError as error:
        raise ConfigError(f"no ODCS contract: {first_problem(error)}", where=path) from error


def contract_paths(home: Path | None) -> list[Path]:
    """Return the contracts that bind a home: those that come with the platform, and ``HOME/contracts/*.odcs.yaml``."""
    own = [] if home is None else sorted((home / HOME_FOLDER).glob(f"*{SUFFIX}"))
    return [*sorted(PRODUCTS.glob(f"*{SUFFIX}")), *own]


def read_contracts(home: Path | None) -> tuple[Contract, ...]:
    """Read the contracts that bind a home, in order of their ids; the home's own replaces one of the same id.

    Raises:
        ConfigError: One is no contract, or two of the home share an id.
    """
    found: dict[str, Contract] = {}
    for path in contract_paths(home):
        contract = read_contract(path)
        before = found.get(contract.id)
        if before is not None and before.path.parent == path.parent:
            raise ConfigError(f"the id '{contract.id}' is that of {before.path.name} too", where=path)
        found[contract.id] = contract
    return tuple(found[key] for key in sorted(found))
