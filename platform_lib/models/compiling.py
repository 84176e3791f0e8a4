"""Networks whose kernels torch.compile makes, where the machine has what that takes."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any

from torch import nn

from platform_lib.errors import ConfigError


def compiled(network: nn.Module, device: str) -> Any:
    """Return the network with kernels of its own, which are made when it is first called.

    Gradients and losses are those of the network itself to rounding. Where dropout is, its masks are drawn in another way.

    Args:
        network: As it is called in training.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: Something that makes kernels is not installed here.
    """
    missing = missing_for(device)
    if missing is not None:
        raise ConfigError(
            f"the recipe has `compiled=True`, and {missing}",
            where="recipe",
            remedy="install it where training runs (Debian: `apt-get install g++`), or set `compiled=False`",
        )
    import torch

    return torch.compile(network)


def missing_for(device: str) -> str | None:
    """Say what torch.compile lacks on this machine; None where it lacks nothing.

    Source: PyTorch 2.13, ``torch/_inductor/config.py`` (``cpp.cxx``); Triton's ``runtime/build.py`` for its launchers.
    """
    if device == "cpu":
        wanted = os.environ.get("CXX", "g++")
        return None if shutil.which(wanted) else f"there is no C++ compiler '{wanted}' here"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    named = os.environ.get("CC")
    if any(shutil.which(name) for name in ((named,) if named else ("gcc", "clang"))):
        return None
    return f"there is no C compiler '{named or 'gcc'}' here"
