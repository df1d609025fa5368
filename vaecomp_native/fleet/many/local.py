"""Members on this machine, by threads that share the pack.

NumPy and the native code release the interpreter's lock, so that threads run at the same time.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from vaecomp_native.fleet.many.maker import Maker, MakerOptions
from vaecomp_native.fleet.many.report import Item, Outcome


def run(
    items: Sequence[Item], pack: str | bytes, options: MakerOptions, *, workers: int = 0
) -> Generator[Outcome, None, None]:
    """Outcomes as they come, of `workers` members at a time; 0 for as many as there are cores.

    When the iterator is closed, members that have been begun are finished, and no other is begun.
    """
    cores = _cores()
    count = min(workers or cores, len(items))
    options = replace(options, threads=max(1, cores // count))
    maker = Maker(pack)
    if count == 1:
        # In the caller's thread, where Ctrl-C need not wait for the member at work.
        yield from (maker.make(item, options) for item in items)
        return
    pool = ThreadPoolExecutor(count, thread_name_prefix="vaecomp-member")
    try:
        futures = [pool.submit(maker.make, item, options) for item in items]
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
