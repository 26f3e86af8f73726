"""What a service tells an operator's monitoring: single numbers in Prometheus' text form, read when they are asked for.

Every process counts for itself; a gauge that is read in the database is the same in every replica. Nothing here names a
user or an object.

Specification: Prometheus text exposition format 0.0.4.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number: a counter only grows while the process lives, a gauge goes up and down."""

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    read: Callable[[], Awaitable[int]]


async def metrics_text(metrics: Iterable[Metric]) -> str:
    """The metrics as they stand."""
    texts = [
        f"# HELP {metric.name} {metric.description}\n# TYPE {metric.name} {metric.kind}\n"
        f"{metric.name} {await metric.read()}\n"
        for metric in metrics
    ]
    return "".join(texts)
