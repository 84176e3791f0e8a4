"""A training run's network, for the worker that trains it with quantizers in it."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from platform_lib.errors import ContractError, MissingPartError
from platform_lib.models.registry import restored

WEIGHTS = "weights.pt"


def network_of(run: str) -> torch.nn.Module:
    """Return the network of a run's folder, its weights loaded.

    Raises:
        MissingPartError: The folder holds no weights.
        ContractError: They are no weights of a model that is known here.
    """
    path = Path(run) / WEIGHTS
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise MissingPartError("no weights here", where=path, remedy="name the folder of a training run") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ContractError("not the weights of a run", where=path, remedy="train it again") from error
    return restored(held).network
