"""Runs a row of tasks in order with a few ahead of the reader, on a bounded number of threads and bytes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from platform_lib.errors import PlatformError

Task = TypeVar("Task")
Result = TypeVar("Result")


def default_threads() -> int:
    """Return how many threads inflate: two, where there are two."""
    return min(2, len(os.sched_getaffinity(0)))


class _Slot(Generic[Task, Result]):
    """A task handed to the pool, unless the reader takes it back and runs it itself."""

    def __init__(self, pool: ThreadPoolExecutor, work: Callable[[Task], Result], task: Task, size: int) -> None:
        self._work, self._task = work, task
        self.size = size
        self.future: Future[Result] = pool.submit(work, task)

    def take(self) -> bool:
        """Run the task in this thread, if no other has begun; return whether it was."""
        if not self.future.cancel():
            return False
        done: Future[Result] = Future()
        done.set_result(self._work(self._task))
        self.future = done
        return True


class Pipeline:
    """A reader's threads: itself, and a pool of the others."""

    def __init__(self, threads: int) -> None:
        self._threads = max(1, threads)
        self._pool: ThreadPoolExecutor | None = None
        self._afterwards: Callable[[], None] | None = None

    def afterwards(self, prepare: Callable[[], None] | None) -> None:
        """Have `prepare` called as soon as the next run has handed out all of its tasks, for the threads to have work."""
        self._afterwards = prepare if self._threads > 1 else None

    def begin(self, work: Callable[..., Result], *arguments: object) -> Future[Result] | None:
        """Have another thread do something when it finds the time; ``None`` where there is no other."""
        return None if self._threads == 1 else self._others().submit(work, *arguments)

    def _others(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="inflate")
        return self._pool

    def run(
        self, tasks: Iterable[Task], work: Callable[[Task], Result], size: Callable[[Task], int], most: int
    ) -> Iterator[Result]:
        """Yield ``work(task)`` for each task, in order.

        Args:
            tasks: What to do; they may come out of another run.
            work: Does one; may be called from several threads at once.
            size: How much a task counts.
            most: How much is done ahead of the reader, about.

        Raises:
            PlatformError: What a task raised, or what came in place of the next task; after all results before it.
        """
        if self._threads == 1:
            yield from map(work, tasks)
            return
        pool = self._others()
        waiting: deque[_Slot[Task, Result]] = deque()
        ahead, source = 0, iter(tasks)
        failure: PlatformError | None = None
        exhausted = False
        try:
            while True:
                while not exhausted and (not waiting or ahead < most):
                    try:
                        task = next(source, None)
                    except PlatformError as error:
                        task, failure = None, error
                    if task is None:
                        exhausted = True
                        self._prepare()
                        break
                    waiting.append(_Slot(pool, work, task, size(task)))
                    ahead += waiting[-1].size
                if not waiting:
                    break
                self._help(waiting)
                slot = waiting.popleft()
                ahead -= slot.size
                yield slot.future.result()
        finally:
            for slot in waiting:
                slot.future.cancel()
        if failure is not None:
            raise failure

    def _prepare(self) -> None:
        prepare, self._afterwards = self._afterwards, None
        if prepare is not None:
            prepare()

    @staticmethod
    def _help(waiting: deque[_Slot[Task, Result]]) -> None:
        """While the first task is not done, do others that no thread has begun."""
        for slot in tuple(waiting):
            if waiting[0].future.done() or (slot.take() and waiting[0].future.done()):
                return

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
