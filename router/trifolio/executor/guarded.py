"""A plan as Python for answers in which something is missing: a function per selection and list, each value guarded.

Problem: one subgraph fails, an entity is null, a list has a wrong item, and the text that covers the answer without
holes gives up; reading all of it by the interpreter costs several times as much, for a few places that are amiss.
Idea: the same decisions once more as text, but each value is tested where it is read. What passes goes on; what does
not is read by the interpreter, which is told where it stands, and gives back the value, or `BUBBLE` where the null that
it became may not stand.

Why it is right: the text only walks. All that makes an error, its place and its wording, and all that decides about a
null, is the interpreter's; a bubble is passed on as the interpreter passes it. Values are counted where the interpreter
counts them, so that both give up at the same size.

    products { name }    and the second product is null, where it may not be

    def object_2(place, up, conditions, spend, read, read_item):
        spend(1)
        answer_4 = {}
        name_3 = place.get(name_key, MISSING)
        if name_3 is not None and (type(name_3) is not str or ...):
            name_3 = read(up, place, field_3_constant, selection_3_constant)
        answer_4[name_key] = name_3
        return answer_4

Cost: a call per object and list, and a tuple that says where it stands; one and a half times the text without guards.
It is written when a plan's answer first lacks something.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from trifolio.conditions import ALWAYS, Condition
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


class Bubble:
    """The null that may not stand where it is: the parent becomes null in its place."""


BUBBLE: Final = Bubble()
_MISSING: Final = object()
"""What is read where an object has no such key."""
_UNREAD: Final = object()
"""What a function returns for a value that is not for it; nothing was read or counted."""

Standing = tuple["Standing | None", Json | None, OutputField | None, int | None]
"""Where something stands: around it, the object and the field through which it is entered, the index in a list.

In a list of lists the inner list's items have their index alone; None: the root.
"""


class Reader(Protocol):
    """The interpreter, as generated code asks it about one place."""

    def read(self, up: Standing | None, place: Json, field: OutputField, selection: Selection, /) -> object:
        """A field of the object `place`, which stands at `up`; `BUBBLE` where its null may not stand."""

    def read_item(self, standing: Standing, shape: Shape, item: object, coordinate: str, /) -> object:
        """An item of a list, which itself stands at `standing`."""


_Function = Callable[[Json, None, Sequence[bool], Spend, object, object], Json | Bubble]


@dataclass(frozen=True, slots=True)
class Guarded:
    """A plan's code for answers in which something is missing."""

    source: str
    conditions: tuple[Condition, ...]
    """What the code wants to know about the request: whether each holds."""
    _root: _Function

    def complete(self, root: Json, conditions: Sequence[bool], spend: Spend, reader: Reader) -> Json | Bubble:
        """The answer's data, read off the merged tree; `conditions` says whether each of its own holds."""
        return self._root(root, None, conditions, spend, reader.read, reader.read_item)


def generate_guarded(plan: Plan, *, name: str) -> Guarded:
    """Write, compile and register the code of a plan."""
    text = Text(BUBBLE=BUBBLE, MISSING=_MISSING, UNREAD=_UNREAD)
    writer = _Writer(text)
    root = writer.write(plan.selection)
    functions = text.functions(f"plan {name or 'unnamed'}, guarded", root)
    return Guarded(text.source, tuple(writer.conditions), functions[root])  # type: ignore[arg-type]  # defined by the text


_AROUND: Final = "conditions, spend, read, read_item"
"""What every function passes on."""


class _Writer:
    """Writes a function for the root, and for every selection and list below that is reached."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self.conditions: dict[Condition, int] = {}
        self._functions: dict[tuple[int, int], str] = {}
        self._waiting: list[tuple[str, ObjectShape | ListShape, OutputField]] = []

    def write(self, selection: Selection) -> str:
        """Write everything; returns the root's function."""
        root = self._text.name("root")
        with self._text.block(f"def {root}(place, up, {_AROUND}):"):
            typename = ""
            if any(field.types is not None for field in selection.fields):
                typename = self._text.name("typename")
                self._text.line(f"{typename} = place.get({self._text.key('__typename')})")
                with self._text.block(f"if type({typename}) is not str:"):
                    self._text.line(f"{typename} = None")
            self._fields(selection, typename)
        while self._waiting:
            name, shape, field = self._waiting.pop()
            if isinstance(shape, ObjectShape):
                self._object(name, shape.selection)
            else:
                self._list(name, shape, field)
        return root

    def _function(self, shape: ObjectShape | ListShape, field: OutputField) -> str:
        """The function that reads a shape; one for all that share a selection. A list knows its field's coordinate."""
        is_object = isinstance(shape, ObjectShape)
        identity = (id(shape.selection), 0) if isinstance(shape, ObjectShape) else (id(shape), id(field))
        if identity not in self._functions:
            self._functions[identity] = self._text.name("object" if is_object else "list")
            self._waiting.append((self._functions[identity], shape, field))
        return self._functions[identity]

    # ---- objects ----

    def _object(self, name: str, selection: Selection) -> None:
        """`object_N(value, up, ...)`: the object as the client sees it, `BUBBLE`, or `UNREAD` for the interpreter."""
        text = self._text
        with text.block(f"def {name}(place, up, {_AROUND}):"):
            if not selection.is_possible:  # there is an error to tell
                text.line("return UNREAD")
                return
            self._fields(selection, self._check_type(selection))
        text.line("")

    def _check_type(self, selection: Selection) -> str:
        """Leave to the interpreter what is no object or of no type that can be here; returns the type's variable."""
        text = self._text
        with text.block("if type(place) is not dict:"):
            text.line("return UNREAD")
        varying = [field.condition for field in selection.fields if field.types is not None]
        if not selection.types and not varying:
            return ""
        typename = text.name("typename")
        text.line(f"{typename} = place.get({text.key('__typename')})")
        if not selection.types:
            with text.block(f"if type({typename}) is not str:"):
                text.line(f"{typename} = None")
            return typename
        with text.block(f"if {typename} is None:"):
            if varying:
                needed = "True" if ALWAYS in varying else " or ".join(map(self._holds, dict.fromkeys(varying)))
                with text.block(f"if {needed}:"):
                    text.line("return UNREAD")
            else:
                text.line("pass")
        with text.block(f"elif type({typename}) is not str or {typename} not in {text.types(selection.types)}:"):
            text.line("return UNREAD")
        return typename

    def _fields(self, selection: Selection, typename: str) -> None:
        """Statements for every field of `place`, and the return of the answer."""
        text = self._text
        text.line(f"spend({len(selection.fields)})")
        answer = text.name("answer")
        text.line(f"{answer} = {{}}")
        for field in selection.fields:
            tests = []
            if field.types is not None:
                tests.append(f"{typename} in {text.types(field.types)}")
            if field.condition != ALWAYS:
                tests.append(self._holds(field.condition))
            indent = text.indent
            if tests:
                text.line(f"if {' and '.join(tests)}:")
                text.indent += 1
            text.line(f"{answer}[{text.key(field.response_key)}] = {self._field(field, selection)}")
            text.indent = indent
        text.line(f"return {answer}")

    def _holds(self, condition: Condition) -> str:
        """The expression that says whether a condition holds."""
        return f"conditions[{self.conditions.setdefault(condition, len(self.conditions))}]"

    def _field(self, field: OutputField, selection: Selection) -> str:
        """Statements for a field's value; returns the expression that holds it."""
        text, shape = self._text, field.shape
        constants = f"{text.constant('field', field)}, {text.constant('selection', selection)}"
        read = f"read(up, place, {constants})"
        value = text.name(field.key.strip("_") or "value")
        if isinstance(shape, HiddenShape):  # there is an error to tell
            text.line(f"{value} = {read}")
            return self._pass_on(shape, value)
        if isinstance(shape, TypenameShape):
            if shape.constant:
                return text.key(shape.constant)
            text.line(f"{value} = place.get({text.key(field.key)})")
            outside = f" or {value} not in {text.types(selection.types)}" if selection.types else ""
            with text.block(f"if type({value}) is not str{outside}:"):
                text.line(f"{value} = {read}")
                self._pass_on(shape, value)
            return value
        text.line(f"{value} = place.get({text.key(field.key)}, MISSING)")
        if isinstance(shape, ObjectShape | ListShape):
            here = f"up, place, {text.constant('field', field)}"
            entered = f"({here}, None)" if isinstance(shape, ObjectShape) else here
            return self._composite(shape, field, value, entered, read)
        return self._leaf(shape, value, read)

    # ---- values ----

    def _composite(
        self, shape: ObjectShape | ListShape, field: OutputField, value: str, entered: str, read: str
    ) -> str:
        """Statements for an object or a list; returns the result's variable.

        `entered` are the arguments that say where it stands; `read` has the interpreter read it.
        """
        text, function = self._text, self._function(shape, field)
        indent = text.indent
        if not shape.non_null:
            text.line(f"if {value} is not None:")
            text.indent += 1
        result = text.name("result")
        text.line(f"{result} = {function}({value}, {entered}, {_AROUND})")
        with text.block(f"if {result} is UNREAD:"):
            text.line(f"{result} = {read}")
        with text.block(f"if {result} is BUBBLE:"):
            text.line("return BUBBLE" if shape.non_null else f"{result} = None")
        if not shape.non_null:
            text.indent = indent
            with text.block("else:"):
                text.line(f"{result} = None")
        return result

    def _leaf(self, shape: LeafShape | RawShape | TypenameShape | HiddenShape, value: str, read: str) -> str:
        """Statements that check a leaf, and have the interpreter read it where it does not pass."""
        text = self._text
        unchecked = isinstance(shape, LeafShape) and shape.values is None and shape.name not in REFUSED_LEAVES
        if not isinstance(shape, LeafShape) or unchecked:
            refused = f"{value} is MISSING or {value} is None" if shape.non_null else f"{value} is MISSING"
            with text.block(f"if {refused}:"):
                text.line(f"{value} = {read}")
                self._pass_on(shape, value)
            with text.block("else:"):
                text.weigh(value)
            return value
        if shape.values is not None:
            refused = f"type({value}) is not str or {value} not in {text.types(shape.values)}"
        else:
            refused = REFUSED_LEAVES[shape.name].format(value=value)
        with text.block(f"if {refused}:" if shape.non_null else f"if {value} is not None and ({refused}):"):
            text.line(f"{value} = {read}")
            self._pass_on(shape, value)
        return value

    def _pass_on(self, shape: Shape, value: str) -> str:
        """The parent is null where a value that the interpreter read may not be; returns the value's variable."""
        if shape.non_null:
            with self._text.block(f"if {value} is BUBBLE:"):
                self._text.line("return BUBBLE")
        return value

    # ---- lists ----

    def _list(self, name: str, shape: ListShape, field: OutputField) -> None:
        """`list_N(value, up, place, field, ...)`: the list, `BUBBLE`, or `UNREAD` where it is none.

        Its items stand at `(up, place, field, index)`, a list inside only at its index.
        """
        text = self._text
        with text.block(f"def {name}(value, up, place, field, {_AROUND}):"):
            with text.block("if type(value) is not list:"):
                text.line("return UNREAD")
            text.line("spend(len(value))")
            items, index, item = text.name("items"), text.name("index"), text.name("item")
            text.line(f"{items} = []")
            with text.block(f"for {index}, {item} in enumerate(value):"):
                inner, here = shape.item, f"(up, place, field, {index})"
                coordinate = text.constant("coordinate", field.coordinate)
                read = f"read_item({here}, {text.constant('shape', inner)}, {item}, {coordinate})"
                if isinstance(inner, ObjectShape | ListShape):
                    entered = here if isinstance(inner, ObjectShape) else f"{here}, None, None"
                    result = self._composite(inner, field, item, entered, read)
                else:
                    result = self._leaf(inner, item, read)
                text.line(f"{items}.append({result})")
            text.line(f"return {items}")
        text.line("")
