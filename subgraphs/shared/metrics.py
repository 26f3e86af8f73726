"""What a service tells an operator's monitoring: single numbers in Prometheus' text form, read when they are asked for.

Every process counts for itself; a gauge that is read in the database is the same in every replica. Nothing here names a
user or an object.

Specification: Prometheus text exposition format 0.0.4.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
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
    return await _text(("", metric) for metric in metrics)


async def metrics_text_of_services(services: Mapping[str, Iterable[Metric]]) -> str:
    """The metrics of several services, by name, in one text: each number says whose it is."""
    named = [(f'{{service="{name}"}}', metric) for name, metrics in services.items() for metric in metrics]
    return await _text(sorted(named, key=lambda each: each[1].name))


async def _text(metrics: Iterable[tuple[str, Metric]]) -> str:
    """Each metric with its labels; those of one name stand together under one head."""
    lines: list[str] = []
    headed = ""
    for labels, metric in metrics:
        try:
            value = await metric.read()
        except Refusal:
            continue
        if metric.name != headed:
            headed = metric.name
            lines += [f"# HELP {metric.name} {metric.description}", f"# TYPE {metric.name} {metric.kind}"]
        lines.append(f"{metric.name}{labels} {value}")
    return "".join(f"{line}\n" for line in lines)
