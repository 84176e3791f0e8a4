"""Which byte ranges of a remote file to fetch together, and fetching them ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from platform_lib.logs.bytes_source import ByteSource

Range = tuple[int, int]
_GAP_SHARE = 0.05
_MOST_GROUP_BYTES = 8 << 20
_THREADS = 4
_AHEAD_BYTES = (
    32 << 20
)  # in use or on the way; more is asked for when it is needed: four large chunks would break the budget


def grouped(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """Group ranges (offset, length) that one request should fetch: close neighbours, in the order given.

    What lies between them is fetched in vain, at most 5% of what is wanted before it.
    """
    group: list[Range] = []
    start = stop = 0
    for offset, length in ranges:
        gap = offset - stop
        if group and 0 <= gap <= _GAP_SHARE * (stop - start) and offset + length - start <= _MOST_GROUP_BYTES:
            group.append((offset, length))
        else:
            if group:
                yield group
            group = [(offset, length)]
            start = offset
        stop = offset + length
    if group:
        yield group


def fetched(source: ByteSource, ranges: Iterable[Range]) -> Iterator[memoryview]:
    """Yield the bytes of each range in order; some requests run ahead, in threads.

    Raises:
        CorruptLog: As `ByteSource.read_at`.
        IntegrityError: The same.
    """
    waiting: deque[tuple[list[Range], Future[bytes]]] = deque()
    groups = grouped(ranges)
    ahead_bytes = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:

        def submit() -> None:
            nonlocal ahead_bytes
            while len(waiting) < _THREADS and ahead_bytes < _AHEAD_BYTES:
                group = next(groups, None)
                if group is None:
                    return
                waiting.append((group, pool.submit(source.read_at, group[0][0], _span_bytes(group))))
                ahead_bytes += _span_bytes(group)

        try:
            submit()
            while waiting:
                group, future = waiting.popleft()
                data = memoryview(future.result())
                submit()
                begin = group[0][0]
                for offset, length in group:
                    yield data[offset - begin : offset - begin + length]
                del data
                ahead_bytes -= _span_bytes(group)
                submit()
        finally:
            for _, future in waiting:
                future.cancel()


def _span_bytes(group: list[Range]) -> int:
    return group[-1][0] + group[-1][1] - group[0][0]
