"""The generated execution test, for as long as one likes: `python -m tests.execution --help`."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from tests.execution.comparison import Comparison

FOLDER = Path(__file__).parent / "supergraphs"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.execution", description=__doc__)
    parser.add_argument("--operations", type=int, default=20_000, help="how many in all (default: %(default)s)")
    parser.add_argument("--seed", default=str(int(time.time())), help="where to begin; by default the time")
    parser.add_argument("--supergraph", type=Path, help="a supergraph's file; by default all of the folder's")
    parser.add_argument("--replay", help="one seed as a failure prints it: NAME/NUMBER")
    return parser.parse_args()


async def fuzz(files: list[Path], operations: int, seed: str) -> int:
    """Compare `operations` random operations, evenly over `files`; returns how many answers were wrong."""
    wrong = 0
    each = -(-operations // len(files))
    for path in files:
        comparison = Comparison(path.read_text())
        for number in range(each):
            wrong += await _compare(comparison, f"{path.stem}/{seed}.{number}")
    print(f"{each * len(files)} operations, {len(files)} supergraphs, {wrong} wrong answers, seed {seed}")
    return wrong


async def _compare(comparison: Comparison, seed: str) -> int:
    operation, labels = comparison.generate(seed)
    difference = await comparison.compare(operation, labels)
    if difference is not None:
        print(f"--- python -m tests.execution --replay {seed}\n{difference}\n")
    return difference is not None


def main() -> int:
    """Run what the command line asks for; 1 where an answer was wrong."""
    arguments = parse_arguments()
    if arguments.replay:
        path = arguments.supergraph or FOLDER / f"{arguments.replay.partition('/')[0]}.graphql"
        return asyncio.run(_compare(Comparison(path.read_text()), arguments.replay))
    files = [arguments.supergraph] if arguments.supergraph else sorted(FOLDER.glob("*.graphql"))
    return int(asyncio.run(fuzz(files, arguments.operations, arguments.seed)) > 0)


if __name__ == "__main__":
    sys.exit(main())
