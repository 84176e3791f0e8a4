"""Where providers come from on machines that reach no registry: a folder of them, told to Terraform or OpenTofu."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from platform_lib.storage import publish_bytes

# The registry that each program means by `hashicorp/aws`.
HOSTS = {"terraform": "registry.terraform.io", "tofu": "registry.opentofu.org"}
_AWS = Path("hashicorp/aws")
# Where Terraform looks by itself, and where machines without a network keep plugins.
_ROOTS = ("/usr/local/share", "/usr/share", "/usr/local/lib", "/opt", "/var/lib", "/srv")


def find_mirror() -> Path | None:
    """Return a folder of providers on this machine that holds the AWS one, of either registry."""
    named = os.environ.get("DRIVETRAIN_PROVIDER_MIRROR")
    if named:
        return Path(named)
    home = Path.home()
    places = [home / ".terraform.d/plugins", home / ".local/share/terraform/plugins"]
    for root in map(Path, _ROOTS):
        try:
            places += sorted(path for path in root.iterdir() if path.is_dir())
        except OSError:
            continue
    for place in places:
        for folder in (place, place / "plugins"):
            try:
                if any((folder / host / _AWS).is_dir() for host in HOSTS.values()):
                    return folder
            except OSError:
                continue
    return None


def mirrored_versions(mirror: Path) -> list[str]:
    """Return the versions of the AWS provider that a mirror holds, sorted as text."""
    found = set()
    for host in HOSTS.values():
        for packed, _ in _packages(mirror / host / _AWS):
            found.add(packed.parts[0] if len(packed.parts) > 1 else packed.name.split("_")[1])
    return sorted(found)


def mirror_for(program: str, mirror: Path, folder: Path) -> Path:
    """Return a mirror in which a program finds the AWS provider under its own registry's name.

    Both programs run the same provider and look for it under different names: where a mirror holds the other's alone, a
    folder of links gives it the name that is looked for.

    Args:
        program: `terraform` or `tofu`.
        mirror: What is there.
        folder: Where links may lie.
    """
    host = HOSTS[program]
    if (mirror / host / _AWS).is_dir():
        return mirror
    other = next(item for item in HOSTS.values() if item != host)
    made = folder / "mirror" / program
    for inner, package in _packages(mirror / other / _AWS):
        link = made / host / _AWS / inner
        if not link.is_symlink() or link.readlink() != package:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(package)
    return made


def _packages(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give every package of a provider, packed (`terraform-provider-aws_5.100.0_linux_amd64.zip`) or not (`5.100.0/linux_amd64`)."""
    for path in (*sorted(folder.glob("terraform-provider-aws_*_*.zip")), *sorted(folder.glob("*/*_*"))):
        yield path.relative_to(folder), path.resolve()


def configuration(program: str, folder: Path) -> Mapping[str, str]:
    """Name the person's own configuration, where there is one; else one that reads providers from a local mirror.

    Args:
        program: `terraform` or `tofu`.
        folder: Where the configuration may be written.
    """
    own = os.environ.get("TF_CLI_CONFIG_FILE")
    if own and Path(own).is_file():
        return {"TF_CLI_CONFIG_FILE": own}
    mirror = find_mirror()
    if mirror is None or (not own and any((Path.home() / name).is_file() for name in _own_names(program))):
        return {}
    source = f"{HOSTS[program]}/{_AWS.as_posix()}"
    place = mirror_for(program, mirror, folder)
    text = (
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path = "{place}"\n    include = ["{source}"]\n  }}\n'
        f'  direct {{\n    exclude = ["{source}"]\n  }}\n}}\n'
    )
    path = folder / f"{program}.rc"
    if not path.is_file() or path.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        publish_bytes(path, text.encode())
    return {"TF_CLI_CONFIG_FILE": str(path)}


def _own_names(program: str) -> tuple[str, ...]:
    # OpenTofu reads Terraform's where it has none of its own.
    return (".terraformrc",) if program == "terraform" else (".tofurc", ".terraformrc")
