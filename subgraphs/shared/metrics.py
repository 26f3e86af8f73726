"""What a service tells an operator's monitoring: single numbers in Prometheus' text form, read when they are asked for.

Every process counts for itself; a gauge that is read in the database is the same in every replica. Nothing here names a
user or an object.

Specification: Prometheus text exposition format 0.0.4.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from subgraphs.shared.errors import Refusal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number: a counter only grows while the process lives, a gauge goes up and down."""

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    read: Callable[[], Awaitable[int]]


async def metrics_text(metrics: Iterable[Metric]) -> str:
    """The metrics as they stand; one that cannot be read is left out, so that the others are still there."""
    texts = []
    for metric in metrics:
        try:
            value = await metric.read()
        except Refusal:
            continue
        texts.append(f"# HELP {metric.name} {metric.description}\n# TYPE {metric.name} {metric.kind}\n")
        texts.append(f"{metric.name} {value}\n")
    return "".join(texts)
