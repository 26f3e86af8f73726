"""The answer to one request: data, and everything that went wrong, each thing told once and at its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trifolio.errors import AnswerError, ErrorCode
from trifolio.executor.ask_text import UNEXPECTED
from trifolio.executor.codegen import Program
from trifolio.executor.completion import complete
from trifolio.executor.encoding import decode_json
from trifolio.executor.guarded import Guarded
from trifolio.executor.merge import Json
from trifolio.executor.tree import FindSources, MergedTree
from trifolio.query_plan import Selection
from trifolio.work import Work


@dataclass(slots=True)
class Answer:
    """What executing a plan came to: the two members of a response that the executor knows of.

    Not to be changed; freezing it would cost a call per field and request.
    """

    data: Json | None
    errors: tuple[AnswerError, ...] = ()
    fallbacks: int = field(default=0, compare=False)
    """How often generated code met data that it does not cover, and the interpreter read it."""
    text: bytes | None = None
    """The data as JSON text, in place of `data`, where it was wanted so."""

    def to_json(self) -> dict[str, object]:
        """The response as JSON data; errors come first, as the specification recommends."""
        data = self.data if self.text is None else decode_json(self.text)
        if not self.errors:
            return {"data": data}
        return {"errors": [error.to_json() for error in self.errors], "data": data}


_NO_CONDITIONS: Final[Sequence[bool]] = ()


def read_plain_answer(program: Program, tree: MergedTree, variables: Mapping[str, object], work: Work) -> Answer | None:
    """The answer by generated code; None where anything is out of the ordinary.

    Raises WorkExceeded where it has more values than `work` allows.
    """
    if tree.absences or tree.located:
        return None
    conditions = [item.holds(variables) for item in program.conditions] if program.conditions else _NO_CONDITIONS
    try:
        data = program.project(tree.root, conditions, work.spend)
    except UNEXPECTED:
        tree.fallbacks += 1
        return None
    return Answer(data, fallbacks=tree.fallbacks)


def read_answer(
    selection: Selection,
    tree: MergedTree,
    variables: Mapping[str, object],
    *,
    told: Sequence[AnswerError] = (),
    guarded: Guarded | None = None,
    sources: FindSources,
    errors_max: int,
    work: Work,
) -> Answer:
    """Complete the merged tree against the plan's selection; `told` are errors that have the client's paths already.

    Where there is code for it, `guarded`, that reads what is as it should be; the interpreter reads the rest, or all.
    A fetch that failed is told where the answer lacks something for it, and nowhere else. Raises WorkExceeded where the
    answer has more values than `work` allows.
    """
    left = max(0, errors_max - len(told))
    completed = complete(selection, tree, variables, told, guarded=guarded, sources=sources, errors_max=left, work=work)
    return Answer(completed.data, (*told, *completed.errors)[:errors_max], tree.fallbacks)


def too_large() -> Answer:
    """What is answered in place of more than one answer may have."""
    code = ErrorCode.ANSWER_TOO_LARGE
    return Answer(None, (AnswerError(code, code.text),))
