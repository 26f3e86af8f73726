"""Answers in which something is missing: read by code of their own, as the interpreter reads them."""

import gc
import linecache
from collections.abc import Mapping
from dataclasses import replace

import pytest

from trifolio.conditions import Condition
from trifolio.errors import AnswerError, ErrorCode
from trifolio.executor.completion import Completed, complete
from trifolio.executor.guarded import Guarded, generate_guarded
from trifolio.executor.tree import Brings, MergedTree
from trifolio.query_plan import LeafShape, ListShape, ObjectShape, OutputField, Plan, RawShape, Selection, Shape
from trifolio.work import Work, WorkExceeded

PRICE = OutputField("price", "price", LeafShape("Int"), coordinate="Product.price")
NAME = OutputField("name", "name", LeafShape("String", non_null=True), coordinate="Product.name")
PRODUCT = Selection((NAME, PRICE), frozenset({"Product"}))
UNREACHABLE = AnswerError(ErrorCode.SUBGRAPH_UNREACHABLE, ErrorCode.SUBGRAPH_UNREACHABLE.text, subgraph="prices")


def selecting(shape: Shape, *more: OutputField) -> Selection:
    """One field, and what comes after it."""
    return Selection((OutputField("v", "v", shape, coordinate="Query.v"), *more))


def both(
    selection: Selection,
    tree: MergedTree,
    *,
    variables: Mapping[str, object] | None = None,
    told: AnswerError | None = None,
) -> Completed:
    """The answer, which the interpreter and the code agree about, counted values included."""
    counts, found = [], []
    for guarded in (None, code(selection)):
        work = Work(10**6)
        found.append(
            complete(
                selection,
                tree,
                variables or {},
                [told] if told else [],
                guarded=guarded,
                sources=dict,
                errors_max=100,
                work=work,
            )
        )
        counts.append(work.spent)
    assert found[0] == found[1]
    assert counts[0] == counts[1]
    return found[1]


def code(selection: Selection) -> Guarded:
    """The code for a selection."""
    return generate_guarded(Plan(kind="query", fetches=(), selection=selection), name="Shop")


def tree_of(root: dict[str, object]) -> MergedTree:
    """A tree without anything known about its holes."""
    tree = MergedTree()
    tree.root = root
    return tree


def shown(completed: Completed) -> list[tuple[str, tuple[str | int, ...] | None]]:
    """The errors' codes and paths."""
    return [(str(error.code), error.path) for error in completed.errors]


def test_a_failed_fetch_is_told_at_each_field_that_lacks_something() -> None:
    """Every product lacks its price for the same reason; the rest of the answer stands."""
    products: list[dict[str, object]] = [{"name": "Lamp"}, {"name": "Desk"}]
    tree = tree_of({"v": products})
    for product in products:
        tree.add_absence(product, Brings(1, frozenset({"price"})), (UNREACHABLE,))
    completed = both(selecting(ListShape(ObjectShape(PRODUCT))), tree)
    assert completed.data == {"v": [{"name": "Lamp", "price": None}, {"name": "Desk", "price": None}]}
    assert shown(completed) == [
        ("SUBGRAPH_UNREACHABLE", ("v", 0, "price")),
        ("SUBGRAPH_UNREACHABLE", ("v", 1, "price")),
    ]


def test_the_reason_may_stand_above() -> None:
    """What a fetch would have brought with an object higher up is missing for that fetch's reason."""
    tree = tree_of({})
    tree.add_absence(tree.root, Brings(0, frozenset({"v"})), (UNREACHABLE,))
    completed = both(selecting(ListShape(ObjectShape(PRODUCT), non_null=True)), tree)
    assert (completed.data, shown(completed)) == (None, [("SUBGRAPH_UNREACHABLE", ("v",))])


NULLS: list[tuple[Shape, object]] = [
    (ObjectShape(PRODUCT), None),
    (ObjectShape(PRODUCT, non_null=True), "all"),
    (ListShape(ObjectShape(PRODUCT)), [None]),
    (ListShape(ObjectShape(PRODUCT, non_null=True)), None),
    (ListShape(ObjectShape(PRODUCT, non_null=True), non_null=True), "all"),
    (ListShape(ListShape(ObjectShape(PRODUCT))), [[None]]),
    (ListShape(ListShape(ObjectShape(PRODUCT, non_null=True))), [None]),
    (ListShape(ListShape(ObjectShape(PRODUCT, non_null=True), non_null=True)), None),
]


@pytest.mark.parametrize(("shape", "expected"), NULLS, ids=range(len(NULLS)))
def test_a_null_rises_to_where_it_may_stand(shape: Shape, expected: object) -> None:
    """The name of a product is null and may not be: the null takes its place, or its list's, or that of all data."""
    value: object = {"name": None, "price": 1}
    wrapped, indices = shape, 0
    while isinstance(wrapped, ListShape):
        value, wrapped, indices = [value], wrapped.item, indices + 1
    after = OutputField("after", "after", LeafShape("Int"), coordinate="Query.after")
    completed = both(selecting(shape, after), tree_of({"v": value, "after": 1}))
    assert completed.data == (None if expected == "all" else {"v": expected, "after": 1})
    assert shown(completed) == [("NULL_IN_NON_NULL", ("v", *[0] * indices, "name"))]


def test_a_null_that_an_error_explains_is_not_told_again() -> None:
    """A subgraph's own error at the place is enough."""
    told = replace(UNREACHABLE, path=("v", "name"))
    completed = both(selecting(ObjectShape(PRODUCT)), tree_of({"v": {"name": None, "price": 1}}), told=told)
    assert (completed.data, completed.errors) == ({"v": None}, ())


WRONG: list[tuple[Shape, object, object]] = [
    (ListShape(LeafShape("Int")), [1, "2", 3.0, None], [1, None, 3, None]),
    (ListShape(LeafShape("Color", values=frozenset({"RED"}))), ["RED", "BLUE", ["RED"]], ["RED", None, None]),
    (
        ListShape(ObjectShape(PRODUCT)),
        [7, {"__typename": "Shop", "name": "x"}, {"__typename": ["Product"]}],
        [None] * 3,
    ),
    (ListShape(LeafShape("JSON", non_null=True)), [{"a": "b" * 100}, None], None),
    (ListShape(RawShape()), ["b" * 100, None, [1]], ["b" * 100, None, [1]]),
    (ObjectShape(replace(PRODUCT, is_possible=False)), {"name": "x"}, None),
]


@pytest.mark.parametrize(("shape", "value", "expected"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_left_to_the_interpreter(shape: Shape, value: object, expected: object) -> None:
    """Values that are not as the schema says: coerced where they can be, else null with an error at their place."""
    assert both(selecting(shape), tree_of({"v": value})).data == {"v": expected}


@pytest.mark.parametrize("on", [True, False])
def test_conditions_and_types_decide_what_is_looked_for(on: bool) -> None:
    """What a condition leaves out, or another type has, is not missing."""
    fields = (replace(NAME, condition=Condition.literal("on", True)), replace(PRICE, types=frozenset({"Book"})))
    shape = ListShape(ObjectShape(Selection(fields, frozenset({"Book", "Lamp"}))))
    items = [{"__typename": "Book", "price": 1}, {"__typename": "Lamp"}, {"__typename": "Book"}, {}]
    completed = both(selecting(shape), tree_of({"v": items}), variables={"on": on})
    data = completed.data
    assert data == {"v": [None] * 4 if on else [{"price": 1}, {}, {"price": None}, None]}


@pytest.mark.parametrize(("path", "told"), [(("minutes",), ("v", "length")), (("other",), ("v",)), ((), ("v",))])
def test_an_error_that_has_taken_an_object_of_unknown_type_is_told_at_its_field(
    path: tuple[str, ...], told: tuple[str, ...]
) -> None:
    """Nobody has told whether it is a film, but its minutes failed: that is where the client learns of it."""
    fields = (OutputField("length", "minutes", LeafShape("Int"), types=frozenset({"Film"})),)
    shape = ObjectShape(Selection(fields, frozenset({"Film", "Song"})))
    place: dict[str, object] = {}
    tree = tree_of({"v": place})
    tree.add_absence(place, Brings(1, frozenset({"__typename", "minutes"})), (UNREACHABLE,), (path,))
    completed = both(selecting(shape), tree)
    assert (completed.data, shown(completed)) == ({"v": None}, [("SUBGRAPH_UNREACHABLE", told)])


def test_what_is_shared_between_places_is_written_once() -> None:
    """Two fields with one selection have one function, and each has its own place in errors."""
    shape = ObjectShape(PRODUCT)
    selection = Selection((OutputField("a", "a", shape), OutputField("b", "b", ListShape(shape))))
    completed = both(selection, tree_of({"a": {"name": None}, "b": [{"name": None}]}))
    assert [path for _, path in shown(completed)] == [("a", "name"), ("b", 0, "name")]
    assert code(selection).source.count("def object_") == 1


def test_more_values_than_work_allows_are_refused() -> None:
    """The limit holds here as well."""
    selection = selecting(ListShape(ObjectShape(PRODUCT)))
    tree = tree_of({"v": [{"name": "Lamp"}] * 100})
    with pytest.raises(WorkExceeded):
        complete(selection, tree, {}, [], guarded=code(selection), sources=dict, errors_max=1, work=Work(300))


def test_its_lines_are_known_to_tracebacks_as_long_as_it_lives() -> None:
    """The text is registered under the plan's name, and goes with the code."""
    guarded = generate_guarded(Plan("query", (), selecting(ObjectShape(PRODUCT))), name="Traced")
    names = [name for name in linecache.cache if name.startswith("<plan Traced, guarded:")]
    assert [linecache.getline(name, 1) for name in names] == [guarded.source.splitlines(keepends=True)[0]]
    del guarded
    gc.collect()
    assert not [name for name in linecache.cache if name in names]
