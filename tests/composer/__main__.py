"""Random sets of subgraphs, for as long as one likes: `python -m tests.composer --help`.

Each set is composed. What composes is read and planned by the router; with `--judges` (needs Node and npm) also by the
planners of Apollo and Hive, and Apollo's composition says of every set whether it composes.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from random import Random

from bench.interop.judge import Judge
from tests.composer.random_subgraphs import random_subgraphs
from tests.execution.operations import Operation, generate
from trifolio.composer import CompositionResult, Subgraph, compose
from trifolio.planner import plan
from trifolio.supergraph import Supergraph


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.composer", description=__doc__)
    parser.add_argument("--sets", type=int, default=20_000, help="how many sets (default: %(default)s)")
    parser.add_argument("--operations", type=int, default=2, help="how many operations for each (%(default)s)")
    parser.add_argument("--seed", default=str(int(time.time())), help="where to begin; by default the time")
    parser.add_argument("--judges", action="store_true", help="ask the composers and planners of others, too")
    parser.add_argument("--replay", help="print the set of a seed as a failure prints it, and what it composes to")
    return parser.parse_args()


def compose_and_plan(seed: str, subgraphs: list[Subgraph], count: int) -> tuple[CompositionResult, list[Operation]]:
    """Compose a set and plan some operations on it; raises where one of these does."""
    result = compose(subgraphs)
    operations = []
    if result.supergraph is not None:
        supergraph = Supergraph.parse(result.supergraph)
        random = Random(seed)
        for _ in range(count):
            operations.append(generate(supergraph.api_schema, random))
            plan(operations[-1].text, supergraph)
    return result, operations


def run(sets: int, operations: int, seed: str, judge: Judge | None) -> int:
    """Compose that many sets; prints what is amiss and returns how many sets have something amiss."""
    counts: Counter[str] = Counter()
    for number in range(sets):
        name = f"{seed}.{number}"
        subgraphs = random_subgraphs(name)
        try:
            result, asked = compose_and_plan(name, subgraphs, operations)
        except Exception:  # noqa: BLE001  # whatever is raised is what is looked for
            problems = [traceback.format_exc()]
        else:
            counts["composed"] += result.supergraph is not None
            counts["planned"] += len(asked)
            problems = judge.problems(subgraphs, result, [each.text for each in asked]) if judge else []
        if problems:
            counts["amiss"] += 1
            print(f"--- python -m tests.composer --replay {name}", *problems, sep="\n", flush=True)
    print(f"{sets} sets, {counts['composed']} composed, {counts['planned']} operations planned, seed {seed}")
    print(f"{counts['amiss']} sets with something amiss")
    if judge:
        print(f"of others: {', '.join(f'{number} {what}' for what, number in sorted(judge.counts.items()))}")
    return counts["amiss"]


def replay(seed: str) -> int:
    """Print a set and what it composes to."""
    subgraphs = random_subgraphs(seed)
    result = compose(subgraphs)
    for each in subgraphs:
        print(f"=== {each.name}\n{each.sdl}")
    print("=== diagnostics", *result.diagnostics, f"=== supergraph\n{result.supergraph}", sep="\n")
    return 0


def main() -> int:
    """Run what the command line asks for; 1 where something is amiss."""
    arguments = parse_arguments()
    if arguments.replay:
        return replay(arguments.replay)
    if not arguments.judges:
        return int(run(arguments.sets, arguments.operations, arguments.seed, None) > 0)
    with Judge() as judge:
        return int(run(arguments.sets, arguments.operations, arguments.seed, judge) > 0)


if __name__ == "__main__":
    sys.exit(main())
