"""Work of one process each, on all cores that the tests may use."""

import gc
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor


def processes_on_all_cores() -> ProcessPoolExecutor:
    """One process per core; spawned, not forked, as the parent may have threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, initializer=_settle_in)


def _settle_in() -> None:
    warnings.simplefilter("error")  # as in the parent
    gc.freeze()
