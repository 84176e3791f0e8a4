"""One process or several that train one network: what they exchange, and whole states of networks that lie in pieces.

A gang's processes take the same steps. Its loss is the mean over all samples of a step, whichever process holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, Protocol, cast

import torch
from torch import nn

Strategy = Literal["ddp", "fsdp"]


class Gang(Protocol):
    """How this process works with the others."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network as it is called in training."""

    def holding_back(self, wrapped: nn.Module, *, last: bool) -> Any:
        """Return a context in which gradients are only added up; before the last part of a step nothing is exchanged."""

    def summed(self, values: list[float]) -> list[float]:
        """Return each value's sum over all processes."""

    def gathered(self, value: Any) -> list[Any]:
        """Return every process's value, by rank."""

    def clip(self, wrapped: nn.Module, limit: float) -> float:
        """Clip the gradient's norm and return what it was, over all processes."""

    def states(self, wrapped: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the whole state of network and optimiser; every process has to ask, only rank 0's answer is whole."""

    def restore(
        self,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        network_state: dict[str, Any],
        optimiser_state: dict[str, Any],
    ) -> None:
        """Load what `states` returned."""


class Alone:
    """One process."""

    rank = 0
    size = 1

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network itself."""
        return network

    def holding_back(self, wrapped: nn.Module, *, last: bool) -> Any:
        """Nothing is exchanged anyway."""
        del wrapped, last
        return nullcontext()

    def summed(self, values: list[float]) -> list[float]:
        """Return the values."""
        return values

    def gathered(self, value: Any) -> list[Any]:
        """Return the one value."""
        return [value]

    def clip(self, wrapped: nn.Module, limit: float) -> float:
        """Clip the gradient's norm and return what it was."""
        return float(nn.utils.clip_grad_norm_(wrapped.parameters(), limit))

    def states(self, wrapped: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return both states."""
        return wrapped.state_dict(), optimiser.state_dict()

    def restore(
        self,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        network_state: dict[str, Any],
        optimiser_state: dict[str, Any],
    ) -> None:
        """Load both states."""
        wrapped.load_state_dict(network_state)
        optimiser.load_state_dict(optimiser_state)


class _Together(Alone):
    """Several processes of an initialised process group."""

    def __init__(self, device: torch.device) -> None:
        from torch import distributed

        self._distributed = distributed
        self._device = device
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def summed(self, values: list[float]) -> list[float]:
        """Return each value's sum over all processes."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        self._distributed.all_reduce(tensor)
        return cast("list[float]", tensor.tolist())

    def gathered(self, value: Any) -> list[Any]:
        """Return every process's value, by rank."""
        found: list[Any] = [None] * self.size
        self._distributed.all_gather_object(found, value)
        return found


class DataParallel(_Together):
    """Every process holds the whole network; gradients are averaged."""

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network with its gradients exchanged."""
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(network)

    @contextmanager
    def holding_back(self, wrapped: nn.Module, *, last: bool) -> Iterator[None]:
        """Exchange gradients with the last part of a step only."""
        with nullcontext() if last else cast("Any", wrapped).no_sync():
            yield

    def states(self, wrapped: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return both states, the network's under its own names."""
        return cast("nn.Module", wrapped.module).state_dict(), optimiser.state_dict()

    def restore(
        self,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        network_state: dict[str, Any],
        optimiser_state: dict[str, Any],
    ) -> None:
        """Load both states."""
        cast("nn.Module", wrapped.module).load_state_dict(network_state)
        optimiser.load_state_dict(optimiser_state)


class FullyShardedDataParallel(_Together):
    """Every process holds a part of each parameter, of its gradient and of the optimiser's state."""

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network, its parameters in pieces."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self._device.type, (self.size,))
        return cast("nn.Module", fully_shard(network, mesh=mesh))

    @contextmanager
    def holding_back(self, wrapped: nn.Module, *, last: bool) -> Iterator[None]:
        """Exchange gradients with the last part of a step only."""
        cast("Any", wrapped).set_requires_gradient_sync(last)
        yield

    def clip(self, wrapped: nn.Module, limit: float) -> float:
        """Clip the gradient's norm over all pieces and return what it was."""
        norm = nn.utils.clip_grad_norm_(wrapped.parameters(), limit)
        return float(cast("Any", norm).full_tensor())

    def states(self, wrapped: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return both states, put together on rank 0."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_state_dict(wrapped, optimiser, options=options)

    def restore(
        self,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        network_state: dict[str, Any],
        optimiser_state: dict[str, Any],
    ) -> None:
        """Give every process its pieces of both states; each has read the whole of them."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

        set_state_dict(
            wrapped,
            optimiser,
            model_state_dict=network_state,
            optim_state_dict=optimiser_state,
            options=StateDictOptions(full_state_dict=True),
        )


def gang(strategy: Strategy, device: torch.device | None = None) -> Gang:
    """Return this process's gang: alone, unless a process group of several was set up."""
    from torch import distributed

    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return Alone()
    chosen = FullyShardedDataParallel if strategy == "fsdp" else DataParallel
    return chosen(device or torch.device("cpu"))
