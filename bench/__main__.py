"""`make bench`: what the router costs alone, and what the whole brokerage costs.

    make bench                                            every part, under five minutes
    make bench ARGS="answers connections"                 some parts
    make bench ARGS="--seconds 5 --requests 1000000"      longer, for figures to be quoted
    make bench ARGS="beside --peers grafbase,apollo"      beside other routers, in turns (needs Node; see peers.toml)
    make bench ARGS="subscribers --subscribers 1000"      subscriptions over sockets, each with an event a second
    make bench ARGS="--publish"                           and write docs/performance.md with its plots
    make bench ARGS="page"                                write the page again, of the figures that are published

Every answer is compared with what it has to be; one that is wrong ends its part, and the run with 1. Figures are of
this machine at this moment: compare those of one run with one another, not with another day's.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path

import uvloop

from bench import results
from bench.alone import (
    ANSWERS,
    CONNECTIONS,
    ENTITIES,
    SIZES,
    Figure,
    Report,
    measure_alone,
    measure_memory,
    measure_pace,
    measure_start,
)
from bench.beside import compared, measure_beside
from bench.brokerage import measure_brokerage
from bench.machine import about
from bench.page import write_page
from bench.processes import NotMeasured
from bench.subscribers import measure_subscribers
from bench.targets import OURS, PEERS, Mocks, Target, install_peers, mocks, read_peers

WORKLOADS = {"answers": ANSWERS, "connections": CONNECTIONS, "entities": ENTITIES, "sizes": SIZES}
ALONE = (*WORKLOADS, "pace", "memory", "start")
PARTS = (*ALONE, "portfolio", "order")
"""What is measured where nobody says what."""
ON_DEMAND = ("beside", "page", "subscribers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what the command line asks for, prints it, and keeps it."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    if "page" in options.parts:
        write_page()
        return 0
    command = "make bench" + (f' ARGS="{shlex.join(words)}"' if words else "")
    run = about(command)
    figures: list[Figure] = []

    def report(figure: Figure) -> None:
        figures.append({"run": run, **figure})
        results.append(figures[-1])
        print(_line(figure), flush=True)

    with tempfile.TemporaryDirectory(prefix="trifolio-bench-") as folder:
        wrong = uvloop.run(_measure(options, Path(folder), report))
    if options.publish:
        results.publish(figures)
        write_page()
    return 1 if wrong else 0


async def _measure(options: argparse.Namespace, folder: Path, report: Report) -> list[str]:
    """Measures part after part; what is wrong with one leaves the others. Returns what was wrong."""
    parts = options.parts or [*PARTS, *(["beside"] if options.peers else [])]
    peers = _peers(options) if "beside" in parts else []
    wrong: list[str] = []

    async def told(what: str, measurement: Awaitable[None]) -> None:
        try:
            await measurement
        except NotMeasured as error:
            wrong.append(f"{what}: {error}")
            print(wrong[-1], flush=True)

    if {*parts} & {*ALONE, "beside"}:
        async with mocks(folder) as running:
            for part in parts:
                if part in ALONE:
                    await told(part, _measure_alone(part, options, running, report))
            for target in peers:
                for workload in compared(target):
                    settings = {"pairs": options.pairs, "seconds": options.seconds, "report": report}
                    what = f"{workload.title}, beside {target.title}"
                    await told(what, measure_beside(target, [workload], running, **settings))
    if "subscribers" in parts:
        seconds = options.seconds * 4  # an event a second is few
        await told("subscribers", measure_subscribers(options.subscribers, seconds, report, folder))
    if {*parts} & {"portfolio", "order"}:
        routers = [OURS, *_apollo()] if "portfolio" in parts else []
        settings = {"seconds": options.seconds, "orders": options.orders, "parts": parts, "routers": routers}
        await told("the brokerage", measure_brokerage(folder, report, **settings))
    return wrong


def _peers(options: argparse.Namespace) -> list[Target]:
    """Those that the command line names, installed. Raises NotMeasured where that cannot be."""
    known = read_peers(options.peers_file)
    names = options.peers.split(",") if options.peers else []
    if not names or not known.keys() >= {*names}:
        raise NotMeasured(f"name other routers with --peers: {', '.join(known)}")
    if options.peers_file == PEERS:
        install_peers()
    return [known[name] for name in names]


def _apollo() -> list[Target]:
    """Apollo's gateway, where Node is there."""
    try:
        install_peers()
    except NotMeasured as obstacle:
        print(f"Apollo's gateway before plain subgraphs is left out: {obstacle}")
        return []
    return [read_peers()["apollo"]]


async def _measure_alone(part: str, options: argparse.Namespace, mocks: Mocks, report: Report) -> None:
    if part in WORKLOADS:
        await measure_alone(WORKLOADS[part], mocks, options.seconds, part, report)
    elif part == "pace":
        await measure_pace(mocks, options.seconds * 2, report)
    elif part == "memory":
        await measure_memory(mocks, options.requests, report)
    else:
        await measure_start(mocks, options.pairs, report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="Measures the router and the brokerage.")
    names = ", ".join((*PARTS, *ON_DEMAND))
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"some of: {names}")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="turns beside another, and starts (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=20_000, help="for the memory (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=200, help="by one client, and by 16 (default: %(default)s)")
    parser.add_argument("--subscribers", type=int, default=5_000, help="of each way (default: %(default)s)")
    parser.add_argument("--peers", default="", metavar="NAME,...", help="other routers, as peers.toml calls them")
    parser.add_argument("--peers-file", type=Path, default=PEERS, metavar="FILE", help="instead of peers.toml")
    parser.add_argument("--publish", action="store_true", help="write the page and its plots, too")
    return parser


def _part(text: str) -> str:
    if text not in (*PARTS, *ON_DEMAND):
        raise argparse.ArgumentTypeError(f"{text} is none of: {', '.join((*PARTS, *ON_DEMAND))}")
    return text


def _line(figure: Figure) -> str:
    """A figure, for somebody who watches."""
    texts = {
        "cpu_ms": "{:.3f} CPU-ms",
        "peer_cpu_ms": "theirs {:.3f}",
        "ratio": "ratio {:.2f}",
        "low": "({:.2f}",
        "high": "to {:.2f})",
        "per_s": "{:,.0f}/s",
        "p50_ms": "p50 {:.1f} ms",
        "p99_ms": "p99 {:.1f} ms",
        "p99_9_ms": "p99.9 {:.1f} ms",
        "rss_mb": "{:.0f} MB",
        "kb_each": "{:.1f} kB each",
        "raw_cpu_ms": "raw saga {:.3f}",
        "start_s": "started in {:.1f} s",
        "median_ms": "{:.0f} ms",
        "fetches": "{:.2f} fetches",
    }
    shown = " ".join(text.format(figure[name]) for name, text in texts.items() if name in figure)
    return f"{figure['title']:44} {shown}"


if __name__ == "__main__":
    sys.exit(main())
