"""The generated execution test, for as long as one likes: `python -m tests.execution --help`."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from tests.execution.comparison import Comparison
from tests.execution.random_supergraphs import random_supergraph
from tests.execution.world import UnsuitableError

FOLDER = Path(__file__).parent / "supergraphs"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.execution", description=__doc__)
    parser.add_argument("--operations", type=int, default=20_000, help="how many in all (default: %(default)s)")
    parser.add_argument("--seed", default=str(int(time.time())), help="where to begin; by default the time")
    parser.add_argument("--random", type=int, default=66, help="random supergraphs beside the folder's (%(default)s)")
    parser.add_argument("--deferring", action="store_true", help="only operations with @defer, answered in parts")
    parser.add_argument("--supergraph", type=Path, help="a supergraph's file in place of all these")
    parser.add_argument("--replay", help="one seed as a failure prints it: NAME/NUMBER")
    return parser.parse_args()


def read_supergraph(name: str) -> str:
    """A supergraph of the folder, or the random one that a name such as `random-7.3` stands for."""
    return random_supergraph(name) if name.startswith("random-") else (FOLDER / f"{name}.graphql").read_text()


async def fuzz(supergraphs: dict[str, str], operations: int, seed: str, *, deferring: bool) -> int:
    """Compare `operations` random operations, evenly over the supergraphs; returns how many answers were wrong.

    Every third is answered in parts, with `deferring` every one.
    """
    wrong = compared = generated = too_much = 0
    each = -(-operations // len(supergraphs))
    for name, sdl in supergraphs.items():
        try:
            comparison = Comparison(sdl)
            for number in range(each):
                wrong += await compare(comparison, f"{name}/{seed}.{number}", deferring=deferring or number % 3 == 2)
                compared += 1
            generated += comparison.generated
            too_much += comparison.too_much
        except UnsuitableError as error:
            print(f"{name} is left out: {error}")
    print(f"{compared} operations, {len(supergraphs)} supergraphs, {wrong} wrong answers, seed {seed}")
    print(f"{generated} were answered by generated code in the end")
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
        print(f"--- python -m tests.execution {options}--replay {seed}\n{difference}\n", flush=True)
    return difference is not None


def main() -> int:
    """Run what the command line asks for; 1 where an answer was wrong."""
    arguments = parse_arguments()
    if arguments.replay:
        name = arguments.replay.partition("/")[0]
        sdl = arguments.supergraph.read_text() if arguments.supergraph else read_supergraph(name)
        return int(asyncio.run(compare(Comparison(sdl), arguments.replay, deferring=arguments.deferring)))
    if arguments.supergraph:
        names = {arguments.supergraph.stem: arguments.supergraph.read_text()}
    else:
        random = [f"random-{arguments.seed}.{number}" for number in range(arguments.random)]
        names = {name: read_supergraph(name) for name in [*sorted(path.stem for path in FOLDER.iterdir()), *random]}
    wrong = asyncio.run(fuzz(names, arguments.operations, arguments.seed, deferring=arguments.deferring))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
