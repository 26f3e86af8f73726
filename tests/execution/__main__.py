"""The generated execution test, for as long as one likes: `python -m tests.execution --help`."""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.execution.comparison import Comparison
from tests.execution.over_http import ComparisonOverHttp, served
from tests.execution.random_supergraphs import random_supergraph
from tests.execution.world import UnsuitableError

FOLDER = Path(__file__).parent / "supergraphs"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.execution", description=__doc__)
    parser.add_argument("--operations", type=int, default=20_000, help="how many in all (default: %(default)s)")
    parser.add_argument("--seed", default=str(int(time.time())), help="where to begin; by default the time")
    parser.add_argument("--random", type=int, default=66, help="random supergraphs beside the folder's (%(default)s)")
    parser.add_argument("--over-http", action="store_true", help="the router and its subgraphs on sockets")
    parser.add_argument("--deferring", action="store_true", help="only operations with @defer, answered in parts")
    parser.add_argument(
        "--at-once", action="store_true", help="no operation with @defer, every one executed three times"
    )
    parser.add_argument("--supergraph", type=Path, help="a supergraph's file in place of all these")
    parser.add_argument("--replay", help="one seed as a failure prints it: NAME/NUMBER")
    arguments = parser.parse_args()
    if arguments.deferring and arguments.at_once:
        parser.error("answers in parts are not given --at-once")
    return arguments


def read_supergraph(name: str) -> str:
    """A supergraph of the folder, or the random one that a name such as `random-7.3` stands for; one that begins with
    `nullable-random` has keys that may be null."""
    if "random-" not in name:
        return (FOLDER / f"{name}.graphql").read_text()
    return random_supergraph(name, nullable_keys=name.startswith("nullable-"))


@asynccontextmanager
async def made(sdl: str, *, over_http: bool) -> AsyncIterator[Comparison]:
    """A comparison, within this process or on sockets."""
    if over_http:
        async with served(sdl) as comparison:
            yield comparison
    else:
        yield Comparison(sdl)


async def fuzz(
    supergraphs: dict[str, str], operations: int, seed: str, *, in_parts: Sequence[bool], over_http: bool
) -> int:
    """Compare `operations` random operations, evenly over the supergraphs; returns how many answers were wrong.

    Which of them are answered in parts, `in_parts` says in turn.
    """
    wrong = compared = generated = structs = conditional = typed = uncovered = too_much = 0
    each = -(-operations // len(supergraphs))
    for name, sdl in supergraphs.items():
        try:
            async with made(sdl, over_http=over_http) as comparison:
                for number in range(each):
                    deferring = in_parts[number % len(in_parts)]
                    wrong += await compare(comparison, f"{name}/{seed}.{number}", deferring=deferring)
                    compared += 1
                generated += comparison.generated
                structs += comparison.structs
                conditional += comparison.conditional_structs
                typed += comparison.typed_structs
                uncovered += comparison.uncovered
                too_much += comparison.too_much
        except UnsuitableError as error:
            print(f"{name} is left out: {error}")
    print(f"{compared} operations, {len(supergraphs)} supergraphs, {wrong} wrong answers, seed {seed}")
    print(f"{generated} were answered by generated code in the end; {uncovered} were not, though nothing was amiss")
    print(f"{structs} were answered by structs once more: {conditional} under @skip or @include, {typed} by types")
    if too_much:
        print(f"{too_much} with @defer were answered at once, as their parts are too much to plan")
    return wrong


async def compare(comparison: Comparison, seed: str, *, deferring: bool) -> bool:
    """Compare one operation; True, and a report, where the answers differ."""
    operation, labels = comparison.generate(seed, deferring=deferring)
    if deferring:
        difference, _ = await comparison.compare_in_parts(operation, labels)
    else:
        difference = await comparison.compare(operation, labels)
    if difference is not None:
        options = "--deferring " if deferring else ""
        options += "--over-http " if isinstance(comparison, ComparisonOverHttp) else ""
        print(f"--- python -m tests.execution {options}--replay {seed}\n{difference}\n", flush=True)
    return difference is not None


async def replay(seed: str, sdl: str, *, deferring: bool, over_http: bool) -> int:
    """Compare the operation of one seed; returns how many answers were wrong."""
    async with made(sdl, over_http=over_http) as comparison:
        return await compare(comparison, seed, deferring=deferring)


def main() -> int:
    """Run what the command line asks for; 1 where an answer was wrong."""
    arguments = parse_arguments()
    over_http, deferring = arguments.over_http, arguments.deferring
    if arguments.replay:
        name = arguments.replay.partition("/")[0]
        sdl = arguments.supergraph.read_text() if arguments.supergraph else read_supergraph(name)
        return int(asyncio.run(replay(arguments.replay, sdl, deferring=deferring, over_http=over_http)))
    if arguments.supergraph:
        names = {arguments.supergraph.stem: arguments.supergraph.read_text()}
    else:
        kinds = ("random", "nullable-random")
        random = [f"{kinds[number % 2]}-{arguments.seed}.{number}" for number in range(arguments.random)]
        names = {name: read_supergraph(name) for name in [*sorted(path.stem for path in FOLDER.iterdir()), *random]}
    at_once = arguments.at_once or over_http
    in_parts = (True,) if deferring else (False,) if at_once else (False, False, True)
    running = fuzz(names, arguments.operations, arguments.seed, in_parts=in_parts, over_http=over_http)
    return int(asyncio.run(running) > 0)


if __name__ == "__main__":
    sys.exit(main())
