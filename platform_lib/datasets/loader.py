"""Read a split's samples batch by batch: shuffled anew each epoch, shared between readers, resumable after any batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from platform_lib.datasets.reader import SAMPLES, DrivingDataset
from platform_lib.datasets.shuffle import EpochOrder, Part, ShuffleRules, Window, merged, runs_of
from platform_lib.datasets.splits import Split
from platform_lib.errors import ConfigError

TRAINING_COLUMNS = ("sample_id", "image", "ego_history", "command", "future")


class SampleLoader:
    """Iterates over the rest of the current epoch, then over the next one, and so on: one epoch an iteration.

    Each epoch holds every sample of the split once, over all parts together. All parts make the same number of steps.
    The order depends on the dataset, the seed, the epoch, the batch, the parts and the rules, and on nothing else.

    Args:
        folder: A dataset; its bytes are not verified here, see `DrivingDataset.open`.
        split: Which split.
        batch: Most samples of one step; steps differ by one sample at most.
        seed: Decides the order; None reads in the dataset's own.
        columns: What is read; as stored (JPEG bytes, flat lists).
        part: Which share of each epoch is this reader's.
        rules: How rows are mixed.

    Raises:
        ConfigError: `batch` or `seed` cannot be used.
        MissingPartError: There is no such dataset.
    """

    def __init__(
        self,
        folder: Path,
        split: Split,
        *,
        batch: int,
        seed: int | None = 0,
        columns: Sequence[str] = TRAINING_COLUMNS,
        part: Part | None = None,
        rules: ShuffleRules | None = None,
    ) -> None:
        if batch < 1 or (seed is not None and seed < 0):
            raise ConfigError(f"batch {batch}, seed {seed}", where="SampleLoader", remedy="take 1 or more, 0 or more")
        self._part, self._rules = part or Part(), rules or ShuffleRules()
        self._batch, self._seed, self._columns = batch, seed, list(columns)
        digest = DrivingDataset.digest(folder)
        self._rows = lance.dataset(str(folder / SAMPLES))
        names = self._rows.to_table(columns=["split"])["split"].to_numpy(zero_copy_only=False)
        self._runs = runs_of(names == split)
        if not len(self._runs):
            raise ConfigError(f"the {split} split has no samples", where=folder)
        self._identity = {
            "dataset": digest,
            "split": split,
            "seed": seed,
            "batch": batch,
            "part": [self._part.index, self._part.count],
            "rules": [self._rules.block_rows, self._rules.window_blocks],
        }
        self._epoch = self._step = 0
        self._order = self._order_of(0)

    def __len__(self) -> int:
        """Return the steps of a whole epoch."""
        return self._order.steps

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration reads, or goes on with."""
        return self._epoch

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, as JSON values: give it to `load_state_dict` of a new one."""
        return {"epoch": self._epoch, "step": self._step, "of": self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was taken before `state_dict`.

        Raises:
            ConfigError: The state is of another dataset, split, seed, batch, part or rules: the order would differ.
        """
        of = state.get("of")
        if of != self._identity:
            kept = of if isinstance(of, dict) else {}
            differ = [name for name, value in self._identity.items() if kept.get(name) != value]
            raise ConfigError(
                f"the state is of another {', '.join(differ) or 'loader'}",
                where="SampleLoader",
                remedy="resume with what it was begun with, or begin an epoch anew",
            )
        self.seek(epoch=int(state["epoch"]), step=int(state["step"]))

    def seek(self, *, epoch: int, step: int) -> None:
        """Go to a step of an epoch.

        Raises:
            ConfigError: There is no such step.
        """
        if epoch < 0 or not 0 <= step <= self._order.steps:
            raise ConfigError(f"no step {step} of epoch {epoch}", where="SampleLoader")
        self._epoch, self._step, self._order = epoch, step, self._order_of(epoch)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rest of the epoch; when it ends the loader stands at the start of the next."""
        order = self._order
        starts = order.starts()
        with ThreadPoolExecutor(max_workers=1) as ahead:
            number, table = -1, self._rows.schema.empty_table()
            following: Future[pa.Table] | None = None
            while self._step < order.steps:
                low, high = order.step(self._step)
                parts: list[pa.Table] = []
                while low < high:
                    wanted = int(np.searchsorted(starts, low, side="right")) - 1
                    if wanted != number:
                        table = self._read(order.window(wanted)) if following is None else following.result()
                        number = wanted
                        has_next = number + 1 < order.windows
                        following = ahead.submit(self._read, order.window(number + 1)) if has_next else None
                    stop = min(high, int(starts[number + 1]))
                    parts.append(table.slice(low - int(starts[number]), stop - low))
                    low = stop
                self._step += 1
                if parts:
                    yield _one_batch(parts)
        self.seek(epoch=self._epoch + 1, step=0)

    def _order_of(self, epoch: int) -> EpochOrder:
        return EpochOrder(
            self._runs, batch=self._batch, seed=self._seed, epoch=epoch, part=self._part, rules=self._rules
        )

    def _read(self, window: Window) -> pa.Table:
        """Read a window's ranges, each in one piece, and put its rows into their order: one copy of each."""
        pieces = [self._rows.take(np.arange(*one), columns=self._columns) for one in merged(window.ranges)]
        return pa.concat_tables(pieces).combine_chunks().take(pa.array(window.order))


def _one_batch(parts: list[pa.Table]) -> pa.RecordBatch:
    whole = parts[0] if len(parts) == 1 else pa.concat_tables(parts).combine_chunks()
    return whole.to_batches()[0]
