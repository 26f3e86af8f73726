"""Variables: the short way and the long way agree, and what is wrong is said."""

import pytest
from graphql import OperationDefinitionNode, build_schema, parse
from graphql.execution.values import get_variable_values
from hypothesis import given, settings
from hypothesis import strategies as st

from trifolio.errors import VariablesError
from trifolio.limits import Limits
from trifolio.variables import VariableDefinitions, coerce_variables, read_definitions

SCHEMA = build_schema(
    "type Query { a(id: ID): Int } enum Color { RED } input Point { x: Int! y: Float = 1.5 } scalar Any"
)
"""It has every type that a variable is of here: validation lets no operation pass that names another."""
TYPES = [
    "String",
    "ID!",
    "Boolean",
    "Int!",
    "Int",
    "Float",
    "[Int!]",
    "Color",
    "Point",
    "Any",
    'String! = "d"',
    "Int = 3",
]
VALUES = (
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.floats(allow_nan=False)
    | st.sampled_from([0, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 10**30, "RED", {"x": 1}, {"y": 1}, [1, 2], ["a"]])
)


def definitions(*types: str) -> VariableDefinitions:
    text = ", ".join(f"$v{index}: {each}" for index, each in enumerate(types))
    node = parse(f"query ({text}) {{ a }}").definitions[0]
    assert isinstance(node, OperationDefinitionNode)
    return read_definitions(node.variable_definitions or ())


@settings(derandomize=True, max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3), st.data())
def test_the_short_way_is_the_long_way(types: list[str], data: st.DataObject) -> None:
    """Whatever is given for whatever types, the outcome is graphql-core's."""
    read = definitions(*types)
    names = [f"v{index}" for index in range(len(types))]
    values = data.draw(st.dictionaries(st.sampled_from([*names, "undeclared"]), VALUES))
    expected = get_variable_values(SCHEMA, read.nodes, values)
    if isinstance(expected, list):
        with pytest.raises(VariablesError) as raised:
            coerce_variables(SCHEMA, read, values, Limits())
        assert [error.message for error in raised.value.errors()] == [each.message for each in expected]
    else:
        assert coerce_variables(SCHEMA, read, values, Limits()) == expected.coerced


@pytest.mark.parametrize(("levels", "refused"), [(64, False), (65, True), (100_000, True)])
def test_nesting_is_bounded(levels: int, refused: bool) -> None:
    """A value of a custom scalar may be nested as deep as the limit says, and no deeper, however deep it is."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    read = definitions("Any")
    if refused:
        with pytest.raises(VariablesError, match="more than 64 levels"):
            coerce_variables(SCHEMA, read, {"v0": value}, Limits())
    else:
        assert coerce_variables(SCHEMA, read, {"v0": value}, Limits()) == {"v0": value}


@pytest.mark.parametrize(
    "values",
    [
        {"v0": [0] * 100},
        {"v0": {str(n): n for n in range(100)}},
        {"v0": [[[0] * 10] * 5] * 5},
        {"v0": [0] * 50, "undeclared": [0] * 50},
    ],
    ids=["a list", "an object", "nested", "several"],
)
def test_values_are_bounded(values: dict[str, object]) -> None:
    """As many values as the limit says are read, lists and objects counted, and one more is refused."""
    read = definitions("Any")
    number = sum(map(_count, values.values()))
    assert coerce_variables(SCHEMA, read, values, Limits(variables_values_max=number)) == {"v0": values["v0"]}
    with pytest.raises(VariablesError, match="more than"):
        coerce_variables(SCHEMA, read, values, Limits(variables_values_max=number - 1))


def _count(value: object) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + sum(map(_count, inner))


def test_problems_are_told_up_to_the_limit() -> None:
    """A client with many wrong variables hears of the first ones, and that there are more."""
    read = definitions(*["Int!"] * 10)
    with pytest.raises(VariablesError) as raised:
        coerce_variables(SCHEMA, read, {}, Limits(validation_errors_max=3))
    assert len(raised.value.errors()) == 4


HALVES: dict[str, tuple[str, object]] = {
    "a text": ("String", "a\ud800"),
    "beside others": ("ID!", "\udfff é"),
    "in a list": ("[String!]", ["a", "é", "\ud800"]),
    "deep in a custom scalar": ("Any", {"a": [{"b": ["\udc00"]}]}),
    "a name": ("Any", {"a": {"\ud800": 1}}),
    "a field that there is not": ("Point", {"x": 1, "\ud800": 1}),
}


@pytest.mark.parametrize("name", HALVES)
def test_half_a_character_is_named(name: str) -> None:
    """A text that no request to a subgraph could carry is the client's mistake, wherever it stands."""
    type_, value = HALVES[name]
    with pytest.raises(VariablesError, match=r"has a lone surrogate, \\u[D][0-9A-F]{3}, which is half a character"):
        coerce_variables(SCHEMA, definitions(type_, "String"), {"v0": value, "v1": "x"}, Limits())


def test_whole_characters_of_every_plane_are_texts() -> None:
    """Whatever UTF-8 can hold is a text, and so is a name of any characters."""
    values = {"v0": "é漢🎈\uffff\ue000\ud7ff", "v1": {"é🎈": ["漢"]}}
    assert coerce_variables(SCHEMA, definitions("String", "Any"), values, Limits()) == values
