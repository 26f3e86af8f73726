"""Generated code: the same answers as the interpreter, whatever subgraphs send, and text that people can read."""

import json
import linecache
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from tests.executor.shop import Canned, leaf, plan, products_schema
from tests.executor.test_execute import GARBAGE
from trifolio.command import main
from trifolio.conditions import Condition
from trifolio.errors import ErrorCode
from trifolio.executor import Answer, execute, prepare
from trifolio.executor.ask_text import UNEXPECTED
from trifolio.executor.codegen import FIELDS_MAX, generate
from trifolio.executor.encoding import encode_json
from trifolio.executor.local import LocalTransport
from trifolio.query_plan import (
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    Plan,
    Selection,
    Shape,
    TypenameShape,
)
from trifolio.work import Work, WorkExceeded

VALUES = [
    None,
    True,
    0,
    -1,
    2**31 - 1,
    2**31,
    10**30,
    1.0,
    1.5,
    1e300,
    "",
    "RED",
    "text",
    [],
    [None],
    [1, 2],
    ["RED", None],
    [[1], None, []],
    {},
    {"x": 1},
    {"x": None, "__typename": "A"},
    {"x": 3, "__typename": "B"},
    {"x": "3", "y": "s", "__typename": "A"},
    [{"x": 1, "__typename": "A"}, None, {"x": 2, "y": "t", "__typename": "B"}],
    [{"__typename": "C"}],
]
X_AND_Y = Selection(
    (
        OutputField("x", "x", LeafShape("Int")),
        OutputField("y", "y", LeafShape("String"), types=frozenset({"B"})),
    ),
    frozenset({"A", "B"}),
)
ON = Condition.literal("on", True)
X_IN_ANY_CASE = Selection(
    (
        OutputField("x", "x", LeafShape("Int")),
        OutputField("y", "y", LeafShape("String"), types=frozenset({"B"}), condition=ON),
        OutputField("t", "__typename", TypenameShape(), condition=ON),
    ),
    frozenset({"A", "B"}),
)
SHAPES: list[Shape] = [
    *(LeafShape(name) for name in ("Int", "Float", "String", "Boolean", "ID", "JSON")),
    *(LeafShape(name, non_null=True) for name in ("Int", "Float", "String", "Boolean", "ID", "JSON")),
    LeafShape("Color", values=frozenset({"RED"})),
    LeafShape("Color", non_null=True, values=frozenset({"RED"})),
    ListShape(LeafShape("Int")),
    ListShape(LeafShape("Int", non_null=True), non_null=True),
    ListShape(ListShape(LeafShape("Int"))),
    ObjectShape(Selection((OutputField("x", "x", LeafShape("Int", non_null=True)),), frozenset({"A"}))),
    ObjectShape(X_AND_Y),
    ListShape(ObjectShape(X_AND_Y, non_null=True)),
    ObjectShape(X_IN_ANY_CASE),
    ListShape(ObjectShape(X_IN_ANY_CASE)),
    ObjectShape(Selection((OutputField("x", "x", LeafShape("Int")),), frozenset({"A", "B"}))),
]


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=map(str, range(len(SHAPES))))
async def test_every_shape_with_every_value(shape: Shape, on: bool) -> None:
    """For each shape and each JSON value the two ways agree on data and errors."""
    for value in VALUES:
        answers = [
            await answer_of(shape, value, interpretations=interpretations, on=on) for interpretations in (None, 0)
        ]
        assert answers[0] == answers[1], value


async def answer_of(shape: Shape, value: object, *, interpretations: int | None, on: bool) -> Answer:
    """The answer with one value in a shape, while `on` is so."""
    single = plan()
    made = replace(single, fetches=single.fetches[:1], selection=Selection((OutputField("v", "products", shape),)))
    transports = {"products": Canned(encode_json({"data": {"products": value}}))}
    return await execute(prepare(made, interpretations=interpretations), transports=transports, coerced={"on": on})


async def test_a_type_that_nobody_had_to_say_is_not_missed() -> None:
    """Where a condition leaves out all that depends on an object's type, the object has none, and nothing is amiss."""
    shape, value = ListShape(ObjectShape(X_IN_ANY_CASE)), [{"x": 1}, None, {"x": 2, "y": "s", "__typename": "B"}]
    answer = await answer_of(shape, value, interpretations=0, on=False)
    assert (answer.data, answer.fallbacks) == ({"v": [{"x": 1}, None, {"x": 2}]}, 0)
    answer = await answer_of(shape, value, interpretations=0, on=True)
    assert answer.fallbacks == 1
    assert [error.code for error in answer.errors] == [ErrorCode.UNKNOWN_TYPENAME]


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_answered_alike(body: bytes) -> None:
    """Where a subgraph sends garbage, generated code leaves the matter to the interpreter and its errors."""
    products = LocalTransport(products_schema())
    answers = [
        await execute(
            prepare(plan(), interpretations=interpretations), transports={"products": products, "reviews": Canned(body)}
        )
        for interpretations in (None, 0)
    ]
    assert answers[0] == answers[1]


async def test_plan_is_interpreted_first_and_generated_later() -> None:
    """Plans that are executed once are not worth compiling: by default the second execution is the first with code."""
    prepared = prepare(plan())
    assert prepared.code.program() is None
    program = prepared.code.program()
    assert program is not None
    assert prepared.code.program() is program


def test_values_of_the_operation_are_not_in_the_text() -> None:
    """Types and enum values reach the code by name; nothing but identifiers comes from the operation."""
    field = OutputField("color", "color", LeafShape("Color", values=frozenset({'"); import os; ("'})))
    program = generate(replace(plan(), fetches=(), selection=Selection((field,))))
    assert program is not None
    assert "import" not in program.source


def test_traceback_shows_the_line() -> None:
    """Generated code is ordinary code: a traceback shows its text under the plan's name."""
    program = generate(plan(), name="Shop")
    assert program is not None
    with pytest.raises(UNEXPECTED) as failure:
        program.project({"products": [{"id": 1}]}, [], Work(100).spend)
    text = "".join(traceback.format_exception(failure.value))
    assert '"<plan Shop:' in text
    assert "raise UnexpectedError" in text
    assert any(name.startswith("<plan Shop:") for name in linecache.cache)


def test_conditions_are_asked_once_per_request() -> None:
    """Conditions become positions in a list that is worked out before the code runs."""
    on = Condition.literal("on", True)
    fields = (replace(leaf("id", "ID"), condition=on), replace(leaf("name"), condition=on))
    program = generate(plan(fields=fields))
    assert program is not None
    assert program.conditions == (on,)
    tree = {"products": [{"id": "1", "name": "Lamp"}]}
    assert program.project(dict(tree), [True], Work(100).spend) == {"products": [{"id": "1", "name": "Lamp"}]}
    assert program.project(dict(tree), [False], Work(100).spend) == {"products": [{}]}


async def test_deep_answers_do_not_nest_in_the_text() -> None:
    """Beyond some levels an inner object is a function of its own, as CPython limits how deep blocks may nest."""
    selection = Selection((OutputField("x", "x", LeafShape("Int")),), frozenset({"A"}))
    value: object = {"x": 1}
    for _ in range(60):
        shape = ListShape(ObjectShape(selection))
        selection = Selection((OutputField("next", "next", shape),), frozenset({"A"}))
        value = {"next": [value]}
    program = generate(Plan(kind="query", fetches=(), selection=selection))
    assert program is not None
    assert program.project(value, [], Work(200).spend) == value  # type: ignore[arg-type]  # it is an object


def test_huge_plans_stay_with_the_interpreter() -> None:
    """A selection beyond the limit is not compiled."""
    fields = tuple(leaf(f"f{number}") for number in range(FIELDS_MAX + 1))
    assert generate(plan(fields=fields)) is None


def test_command_line_prints_the_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan --format python` prints what the router would run."""
    operation = tmp_path / "operation.graphql"
    operation.write_text("{ goods { id cost } }")
    supergraph = Path(__file__).parents[1] / "execution" / "supergraphs" / "requires-arguments.graphql"
    arguments = ["plan", "--supergraph", str(supergraph), "--operation", str(operation), "--format", "python"]
    assert main(arguments) == 0
    source = capsys.readouterr().out
    compile(source, "printed", "exec")
    assert "def project(root, conditions, spend):" in source


@pytest.mark.parametrize("items", [1, 10, 3_000])
def test_values_are_counted_list_by_list(items: int) -> None:
    """Generated code counts what it reads in lists, the items and their fields, and ends where it may read no more."""
    program = generate(plan(fields=(leaf("id", "ID"), leaf("name"))))
    assert program is not None
    tree = {"products": [{"id": str(number), "name": "Lamp"} for number in range(items)]}
    work = Work(10**6)
    assert program.project(dict(tree), [], work.spend) == tree
    assert work.spent == 3 * items
    assert program.project(dict(tree), [], Work(3 * items).spend) == tree
    with pytest.raises(WorkExceeded):
        program.project(dict(tree), [], Work(3 * items - 1).spend)


def test_a_long_list_is_counted_while_it_is_read() -> None:
    """Between two counts no more than about a thousand values are read, so that others can have their turn."""
    program = generate(plan(fields=(leaf("id", "ID"), leaf("name"))))
    assert program is not None
    counts: list[int] = []
    program.project({"products": [{"id": "1", "name": "Lamp"}] * 5_000}, [], counts.append)
    assert sum(counts) == 15_000
    assert max(counts) <= 1_000


async def test_ordinary_data_never_falls_back_to_the_interpreter() -> None:
    """The generated code alone answers what is as the schema promises; what is not is counted as left to the other."""
    prepared = prepare(plan(fields=(leaf("id", "ID"), leaf("name"))), interpretations=0)
    reviews = Canned({"data": {"_e": [{"price": 1, "stars": 1}]}})
    for name, fallbacks in (("Lamp", 0), (7, 1)):
        item = {"__typename": "Product", "id": "1", "name": name, "weight": 1}
        products = Canned({"data": {"products": [item]}})
        answer = await execute(prepared, transports={"products": products, "reviews": reviews})
        assert (answer.fallbacks, bool(answer.errors)) == (fallbacks, fallbacks > 0)


@pytest.mark.parametrize("weight", [3, None, True, [1, None, {"x": [2]}], {"unit": "kg", "of": [1, 2.5]}, [], {}])
async def test_whatever_a_custom_scalar_is_goes_into_representations(weight: object) -> None:
    """Objects and lists are required as other values are: by generated code, and equal ones once."""
    prepared = prepare(plan(fields=(leaf("id", "ID"), leaf("price", "Int"))), interpretations=0)
    item = {"__typename": "Product", "id": "1", "name": "Lamp", "weight": weight}
    copies: list[object] = [json.loads(json.dumps(each)) for each in (item, {**item, "weight": [7]}, item)]
    answered = [{"price": 1, "stars": 1}, {"price": 2, "stars": 1}]
    products, reviews = Canned({"data": {"products": copies}}), Canned({"data": {"_e": answered}})
    answer = await execute(prepared, transports={"products": products, "reviews": reviews})
    assert (answer.fallbacks, answer.errors) == (0, ())
    assert answer.data == {"products": [{"id": "1", "price": price} for price in (1, 2, 1)]}
    [sent] = reviews.requests[0].variables.values()
    assert sent == [{"__typename": "Product", "id": "1", "weight": each} for each in (weight, [7])]


@pytest.mark.parametrize("bug", [NameError, UnboundLocalError, IndexError, AssertionError])
async def test_a_bug_in_generated_code_is_no_reason_to_fall_back(
    bug: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What data cannot cause is raised, and not read once more in another way."""

    def broken(*_: object) -> dict[str, object]:
        raise bug

    prepared = prepare(plan(), interpretations=0)
    program = prepared.code.program()
    assert program is not None
    monkeypatch.setattr(prepared.code, "_program", replace(program, project=broken))
    products = Canned({"data": {"products": []}})
    with pytest.raises(bug):
        await execute(prepared, transports={"products": products, "reviews": Canned({"data": {"_e": []}})})
