"""A plan as Python: the common case of reading answers and building representations, written out per plan.

Problem: interpreting shapes costs a call and a dozen decisions per value, and a large answer has thousands of values.
Idea: all decisions but those about data follow from the plan, so they are made once, and what is left is source text:
loops over lists, subscripts, type checks, and one dict display per object, without recursion.

Why it is right: the text covers the case that nothing is wrong. Whatever is not as the schema promises (a missing key,
a null, a value of another type) raises, and the plain interpreter does the whole step again from its unchanged inputs.
So errors and their texts have one implementation, and both give the same answers (differential tests).

Cost: about 10 microseconds per line to compile, once per plan; a plan beyond `FIELDS_MAX` stays with the interpreter.
What is not the common case and is met again and again, as while a subgraph is down, has a text of its own (`guarded`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trifolio.conditions import ALWAYS, Condition
from trifolio.executor.ask_text import Dictionaries, Group, UnexpectedError, is_simple, write_ask
from trifolio.executor.encoding import encode_json
from trifolio.executor.guarded import Guarded, generate_guarded
from trifolio.executor.merge import Json
from trifolio.executor.source_text import REFUSED_LEAVES, Spend, Text
from trifolio.query_plan import (
    HiddenShape,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    Plan,
    RawShape,
    Selection,
    Shape,
    TypenameShape,
)

FIELDS_MAX: Final = 2_000
"""Output fields beyond which no text is generated: compiling it would take longer than it saves."""

LOOPS_MAX: Final = 12
"""Nested loops in one function: CPython allows 20 blocks."""

INDENT_MAX: Final = 40
"""Levels of indentation in one function: CPython allows 100."""


PACED_VALUES: Final = 1_000
"""Values in the items of one list beyond which they are counted while the list is read."""


def paced(items: list[object], width: int, spend: Spend) -> Iterator[object]:
    """The items, with `width` values in each, counted some hundreds of values at a time."""
    step = max(1, PACED_VALUES // width)
    for start in range(0, len(items), step):
        several = items[start : start + step]
        spend(len(several) * width)
        yield from several


@dataclass(frozen=True, slots=True)
class Program:
    """A plan's generated code."""

    source: str
    project: Callable[[Json, Sequence[bool], Spend], Json]
    """From the merged tree's root to the answer's data, whose values it counts; raises one of `UNEXPECTED`."""
    conditions: tuple[Condition, ...]
    """What `project` wants to know about the request: whether each holds."""
    asks: Mapping[int, Callable[[Json], list[Group]]]
    """By fetch id, for those that have one: from the root to a group for every alias; raises one of `UNEXPECTED`."""


class OnDemand:
    """A plan's code, generated when the plan is executed for the n-th time: many plans are executed only once."""

    __slots__ = ("_guarded", "_left", "_name", "_plan", "_program")

    def __init__(self, plan: Plan, *, name: str, after: int | None) -> None:
        """`after` executions are interpreted before; None: all of them."""
        self._plan = plan
        self._name = name
        self._left = after
        self._program: Program | None = None
        self._guarded: Guarded | None = None

    def program(self) -> Program | None:
        """The code for one more execution; None where the plain interpreter is to be used."""
        if self._left == 0:
            self._left = None
            self._program = generate(self._plan, name=self._name)
        elif self._left is not None:
            self._left -= 1
        return self._program

    def guarded(self) -> Guarded | None:
        """The code for an answer in which something is missing, where there is code at all."""
        if self._guarded is None and self._program is not None:
            self._guarded = generate_guarded(self._plan, name=self._name)
        return self._guarded


def generate(plan: Plan, *, name: str = "") -> Program | None:
    """Write, compile and register the plan's code; None where the plan is too large."""
    if count_fields(plan.selection, FIELDS_MAX) > FIELDS_MAX:
        return None
    text = Text(
        UnexpectedError=UnexpectedError,
        PACED_VALUES=PACED_VALUES,
        paced=paced,
        encode_json=encode_json,
        defaultdict=defaultdict,
    )
    conditions = _Projection(text).write(plan.selection)
    asking = [fetch for fetch in plan.fetches if is_simple(fetch)]
    for fetch in asking:
        write_ask(text, fetch, Dictionaries())
    functions = text.functions(f"plan {name or 'unnamed'}", "project")
    return Program(
        source=text.source,
        project=functions["project"],  # type: ignore[arg-type]  # defined by the text
        conditions=tuple(conditions),
        asks={fetch.id: functions[f"ask_{fetch.id}"] for fetch in asking},  # type: ignore[misc]  # defined by the text
    )


def count_fields(selection: Selection, limit: int) -> int:
    """The output fields of a selection, counted a little beyond `limit` at most."""
    count = 0
    pending: list[Selection] = [selection]
    while pending and count <= limit:
        current = pending.pop()
        count += len(current.fields)
        pending += selections_below(current)
    return count


def selections_below(selection: Selection) -> Iterator[Selection]:
    """The selections of its fields that are objects, or lists of them."""
    for field in selection.fields:
        shape = field.shape
        while isinstance(shape, ListShape):
            shape = shape.item
        if isinstance(shape, ObjectShape):
            yield shape.selection


# ---- the answer ----

_ALWAYS_NEEDED: Final = "True"


class _Projection:
    """Writes `project` and, where it would nest too deep, functions for its inner objects."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._conditions: dict[Condition, int] = {}
        self._loops = 0
        self._waiting: list[tuple[str, Selection]] = []

    def write(self, selection: Selection) -> list[Condition]:
        """Write everything; returns the conditions in the order in which the code indexes them."""
        self._waiting.append(("project", selection))
        while self._waiting:
            name, inner = self._waiting.pop()
            with self._text.block(f"def {name}(root, conditions, spend):"):
                self._object(inner, "root", "answer")
                self._text.line("return answer")
            self._text.line("")
        return list(self._conditions)

    def _object(self, selection: Selection, place: str, answer: str) -> None:
        """Statements that leave in `answer` what the client sees of `place`."""
        text = self._text
        if not selection.is_possible:  # there is an error to tell
            text.line("raise UnexpectedError")
            return
        typename = self._typename(selection, place)
        varies = any(field.types is not None or field.condition != ALWAYS for field in selection.fields)
        if varies:
            text.line(f"{answer} = {{}}")
        shown: list[tuple[str, str]] = []
        for field in selection.fields:
            tests = []
            if field.types is not None:
                tests.append(f"{typename} in {text.types(field.types)}")
            if field.condition != ALWAYS:
                tests.append(self._holds(field.condition))
            if tests:
                with text.block(f"if {' and '.join(tests)}:"):
                    text.line(f"{answer}[{text.key(field.response_key)}] = {self._field(field, place, typename)}")
            elif varies:
                text.line(f"{answer}[{text.key(field.response_key)}] = {self._field(field, place, typename)}")
            else:
                shown.append((text.key(field.response_key), self._field(field, place, typename)))
        if not varies:
            text.line(f"{answer} = {{{', '.join(f'{key}: {value}' for key, value in shown)}}}")

    def _typename(self, selection: Selection, place: str) -> str:
        """Check the object's type; returns the variable that holds it, empty where nothing needs it."""
        text = self._text
        typename_key, needed = text.key("__typename"), self._needs_type(selection)
        if len(selection.types) == 1 and not needed:
            (only,) = selection.types
            constant = text.key(only)
            with text.block(f"if {place}.get({typename_key}, {constant}) != {constant}:"):
                text.line("raise UnexpectedError")
            return ""
        if not selection.types and not needed:
            with text.block(f"if type({place}) is not dict:"):
                text.line("raise UnexpectedError")
            return ""
        typename = text.name("typename")
        wrong = (
            f"{typename} not in {text.types(selection.types)}" if selection.types else f"type({typename}) is not str"
        )
        if needed == _ALWAYS_NEEDED:
            text.line(f"{typename} = {place}[{typename_key}]")
            with text.block(f"if {wrong}:"):
                text.line("raise UnexpectedError")
            return typename
        text.line(f"{typename} = {place}.get({typename_key})")
        with text.block(f"if {typename} is not None:"), text.block(f"if {wrong}:"):
            text.line("raise UnexpectedError")
        if needed:
            with text.block(f"elif {needed}:"):
                text.line("raise UnexpectedError")
        return typename

    def _needs_type(self, selection: Selection) -> str:
        """The test for when it takes an object's type to say what it shows, empty for never: else nobody had to ask."""
        needing = [
            field.condition
            for field in selection.fields
            if field.types is not None or (isinstance(field.shape, TypenameShape) and not field.shape.constant)
        ]
        if ALWAYS in needing:
            return _ALWAYS_NEEDED
        return " or ".join(map(self._holds, dict.fromkeys(needing)))

    def _holds(self, condition: Condition) -> str:
        """The expression that says whether a condition holds."""
        return f"conditions[{self._conditions.setdefault(condition, len(self._conditions))}]"

    def _field(self, field: OutputField, place: str, typename: str) -> str:
        """Statements for a field's value; returns the expression that holds it."""
        text = self._text
        if isinstance(field.shape, HiddenShape):  # there is an error to tell
            text.line("raise UnexpectedError")
            return "None"
        if isinstance(field.shape, TypenameShape):
            return text.key(field.shape.constant) if field.shape.constant else typename
        value = text.name(field.key.strip("_") or "value")
        text.line(f"{value} = {place}[{text.key(field.key)}]")
        return self._value(field.shape, value)

    def _value(self, shape: Shape, value: str) -> str:
        """Statements that check and complete `value`; returns the variable that holds the result."""
        if isinstance(shape, LeafShape):
            self._leaf(shape, value)
            return value
        if isinstance(shape, RawShape | TypenameShape | HiddenShape):
            if shape.non_null:
                with self._text.block(f"if {value} is None:"):
                    self._text.line("raise UnexpectedError")
            self._text.weigh(value)
            return value
        result = self._text.name("answer" if isinstance(shape, ObjectShape) else "items")
        if shape.non_null:
            self._composite(shape, value, result)
        else:
            with self._text.block(f"if {value} is None:"):
                self._text.line(f"{result} = None")
            with self._text.block("else:"):
                self._composite(shape, value, result)
        return result

    def _composite(self, shape: ListShape | ObjectShape, value: str, result: str) -> None:
        text = self._text
        if isinstance(shape, ObjectShape):
            if self._loops >= LOOPS_MAX or text.indent >= INDENT_MAX:
                name = text.name("object")
                self._waiting.append((name, shape.selection))
                text.line(f"{result} = {name}({value}, conditions, spend)")
            else:
                self._object(shape.selection, value, result)
            return
        with text.block(f"if type({value}) is not list:"):
            text.line("raise UnexpectedError")
        text.line(f"{result} = []")
        width, count = _width(shape.item), text.name("count")
        text.line(f"{count} = len({value}) * {width}")
        with text.block(f"if {count} > PACED_VALUES:"):
            text.line(f"{value} = paced({value}, {width}, spend)")
        with text.block("else:"):
            text.line(f"spend({count})")
        item = text.name("item")
        self._loops += 1
        with text.block(f"for {item} in {value}:"):
            text.line(f"{result}.append({self._value(shape.item, item)})")
        self._loops -= 1

    def _leaf(self, shape: LeafShape, value: str) -> None:
        """Checks that raise where the value needs more than passing on."""
        if shape.values is not None:
            refused = f"{value} not in {self._text.types(shape.values)}"
        else:
            refused = REFUSED_LEAVES.get(shape.name, "").format(value=value)
        if not refused:
            refused = f"{value} is None" if shape.non_null else ""
        elif not shape.non_null:
            refused = f"{value} is not None and ({refused})"
        if refused:
            with self._text.block(f"if {refused}:"):
                self._text.line("raise UnexpectedError")
        if shape.values is None and shape.name not in REFUSED_LEAVES:
            self._text.weigh(value)


def _width(shape: Shape) -> int:
    """How many values stand in one item of a list, those in lists inside left out, as they are counted there."""
    width = 1
    pending = [shape]
    while pending:
        current = pending.pop()
        if isinstance(current, ObjectShape):
            width += len(current.selection.fields)
            pending += (field.shape for field in current.selection.fields)
    return width
