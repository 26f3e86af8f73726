"""What others say of subgraphs and of the supergraph that we compose of them: Apollo's composition, the planners of
Apollo and Hive. It needs Node 20, and `npm ci` in this folder."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trifolio.composer import CompositionResult, Subgraph

OURS_ALONE = frozenset({"LINK_IMPORT_NAME_MISMATCH", "INVALID_LINK_DIRECTIVE_USAGE"})
"""What Apollo refuses and we compose, on purpose: names that subgraphs give a directive in different ways of naming,
and specifications whose names are none of GraphQL. The supergraph has one name for each."""

UNSATISFIED_REQUIRES = "cannot satisfy @require conditions"
"""What Apollo says of a @requires that no subgraph can be given. It looks for what is required as if no label of an
@override were on or off, so that it finds no field that a label moves; each of the two subgraphs has it in its turn."""

RAISED = "RAISED"
"""In place of codes, where Apollo's composition ends with an exception."""


class Judge:
    """A process that judges one composition after the other."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """What was judged, and what the others cannot do themselves."""
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = ["node", "judge.mjs"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=Path(__file__).parent, stdin=pipe, stdout=pipe, text=True)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End the process."""
        self._process.communicate()

    def ask(
        self, subgraphs: Sequence[Subgraph], supergraph: str | None, operations: Sequence[str]
    ) -> dict[str, Any] | None:
        """The answer of `judge.mjs`; None where a planner ends the process."""
        given = [{"name": each.name, "url": each.url, "sdl": each.sdl} for each in subgraphs]
        asked = {"subgraphs": given, "supergraph": supergraph, "operations": operations}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.wait()
        self._process = self._start()
        return None

    def problems(
        self, subgraphs: Sequence[Subgraph], result: CompositionResult, operations: Sequence[str]
    ) -> list[str]:
        """What the others say against a composition: another verdict, a supergraph that one cannot load, an operation
        that Apollo's planner does not plan."""
        answer = self.ask(subgraphs, result.supergraph, operations)
        if answer is None:
            return ["a planner ended its process"]
        return [*self._verdict(result, answer), *self._loading(result.supergraph, answer, operations)]

    def _verdict(self, result: CompositionResult, answer: dict[str, Any]) -> Iterator[str]:
        theirs = set(answer["composed"])
        ours = {each.code for each in result.diagnostics if each.severity == "error"}
        self.counts["sets composed alike"] += bool(theirs) == bool(ours)
        if theirs == {RAISED}:
            self.counts["sets on which Apollo's composition raises"] += 1
        elif theirs and not ours:
            if theirs <= OURS_ALONE or self._is_moved_by_label(result.supergraph, answer):
                self.counts["sets that only we compose, on purpose"] += 1
            else:
                yield f"Apollo refuses: {answer['messages'][0][:400]}"
        elif ours <= {"UNSUPPORTED_LINKED_FEATURE"} and ours and not theirs:
            self.counts["sets that only we refuse, on purpose"] += 1  # Apollo composes, and forgets a link's purpose
        elif ours and not theirs:
            yield f"Apollo composes, and we say {', '.join(sorted(ours))}"

    def _is_moved_by_label(self, supergraph: str | None, answer: dict[str, Any]) -> bool:
        """Whether Apollo lacks nothing but what a @requires needs, where labels move fields."""
        labels = supergraph is not None and "overrideLabel: " in supergraph.partition("enum join__Graph")[2]
        return labels and all(UNSATISFIED_REQUIRES in each for each in answer["messages"])

    def _loading(self, supergraph: str | None, answer: dict[str, Any], operations: Sequence[str]) -> Iterator[str]:
        for planner, error in answer["loads"].items():
            # Hive's parser knows no description of the schema.
            if error is None or (planner == "hive" and supergraph is not None and supergraph.startswith('"""')):
                self.counts[f"supergraphs loaded by {planner}"] += error is None
            else:
                yield f"{planner} does not load the supergraph: {error}"
        for planner, plans in answer["plans"].items():
            for operation, measured in zip(operations, plans, strict=True):
                if isinstance(measured, list):
                    self.counts[f"operations planned by {planner}"] += 1
                elif planner == "hive":  # it plans no introspection, and not everything that Apollo's planner does
                    self.counts["operations that only Hive does not plan"] += 1
                else:
                    yield f"{planner} does not plan {operation}: {measured}"
