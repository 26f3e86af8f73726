"""Bad and hostile input: every operation gets a plan or a clear error, soon and in little memory."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from time import monotonic

import pytest

from trifolio.errors import DocumentError, ErrorCode, OperationError, PlanningError, SupergraphError
from trifolio.executor import prepare
from trifolio.limits import Limits
from trifolio.planner import plan
from trifolio.supergraph import Supergraph
from trifolio.work import PAUSE_UNITS, Work

SECONDS_MAX = 4.0
"""Twice what is promised on an idle machine, as tests share theirs."""

MEMORY_MB_MAX = 300

HEAD = """
schema @link(url: "https://specs.apollo.dev/link/v1.0") @link(url: "https://specs.apollo.dev/join/v0.3", for: EXECUTION)
{ query: Query }
scalar join__FieldSet
"""


def graphs(count: int) -> str:
    """The enum of that many subgraphs."""
    values = " ".join(f'S{n} @join__graph(name: "s{n}", url: "")' for n in range(count))
    return f"enum join__Graph {{ {values} }}\n"


def types(count: int, key: str = "") -> str:
    """@join__type in that many subgraphs."""
    return " ".join(f"@join__type(graph: S{n}{key})" for n in range(count))


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fails the test where it takes too long or too much memory."""
    tracemalloc.start()
    start = monotonic()
    yield
    seconds = monotonic() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS_MAX * 5, f"{seconds:.1f} s, with memory traced"
    assert peak < MEMORY_MB_MAX * 2**20, f"{peak / 2**20:.0f} MB"


USERS = Supergraph.parse(
    HEAD
    + graphs(3)
    + """
    type Query @join__type(graph: S0) { u: U t: T }
    type U @join__type(graph: S0, key: "id") @join__type(graph: S1, key: "id") @join__type(graph: S2, key: "id") {
      id: ID!
      a: Int @join__field(graph: S0)
      b(x: Int): Int @join__field(graph: S1)
      c: Int @join__field(graph: S2, requires: "a")
      f: U @join__field(graph: S0)
      g: U @join__field(graph: S1)
    }
    type T @join__type(graph: S0, key: "id") @join__type(graph: S1, key: "id") {
      id: ID!
      t: T @join__field(graph: S0)
      one: Int @join__field(graph: S1, requires: "t { two }")
      two: Int @join__field(graph: S1, requires: "t { one }")
    }
    """
)


def shelf(subgraphs: int, fields: int, copies: int) -> tuple[str, Supergraph]:
    """An operation that asks an entity for all its fields, each of which some of many subgraphs have."""
    random = Random(7)
    definitions = []
    for number in range(fields):
        homes = " ".join(f"@join__field(graph: S{n})" for n in random.sample(range(1, subgraphs), copies))
        definitions.append(f"f{number}: Int {homes}")
    sdl = f"""{HEAD}{graphs(subgraphs)}
    type Query {types(subgraphs)} {{ t: T @join__field(graph: S0) }}
    type T {types(subgraphs, ', key: "id"')} {{ id: ID! {" ".join(definitions)} }}"""
    return f"{{ t {{ {' '.join(f'f{number}' for number in range(fields))} }} }}", Supergraph.parse(sdl)


def test_set_cover_is_solved(bounded: None) -> None:
    """Fields held by two of thirty subgraphs each: the fewest subgraphs that have them all, and a proof."""
    made = plan(*shelf(30, 60, 2))
    assert made.depth == 2
    assert len(made.fetches) < 22
    assert made.proven_minimal


def test_set_cover_is_answered_within_the_budget(bounded: None) -> None:
    """Fields held by three of a hundred subgraphs each: a plan in time, which says that it may not be the shortest."""
    work = Work(Limits().request_work_max)
    made = plan(*shelf(100, 400, 3), work=work)
    assert made.depth == 2
    assert len(made.fetches) < 60
    assert not made.proven_minimal
    assert "there may be a plan with fewer fetches" in str(made)
    assert work.left > 0


def test_a_hundred_subgraphs_with_a_field_each(bounded: None) -> None:
    """Many subgraphs that all must be asked need no search."""
    fields = " ".join(f"f{n}: Int @join__field(graph: S{n})" for n in range(100))
    sdl = f"""{HEAD}{graphs(100)}
    type Query {types(100)} {{ t: T @join__field(graph: S0) }}
    type T {types(100, ', key: "id"')} {{ id: ID! {fields} }}"""
    made = plan(f"{{ t {{ {' '.join(f'f{n}' for n in range(100))} }} }}", Supergraph.parse(sdl))
    assert (len(made.fetches), made.depth, made.proven_minimal) == (100, 2, True)


def test_nested_interfaces_do_not_multiply(bounded: None) -> None:
    """An interface of forty types from forty subgraphs, in itself four times."""
    members = "\n".join(
        f"""type T{n} implements Node @join__implements(graph: S40, interface: "Node")
        @join__implements(graph: S{n}, interface: "Node")
        @join__type(graph: S40, key: "id") @join__type(graph: S{n}, key: "id")
        {{ id: ID! name: String @join__field(graph: S{n}) kids: [Node] @join__field(graph: S40) }}"""
        for n in range(40)
    )
    sdl = f"""{HEAD}{graphs(41)}
    type Query {types(41)} {{ node: Node @join__field(graph: S40) }}
    interface Node {types(41)} {{ id: ID! name: String kids: [Node] }}
    {members}"""
    made = plan("{ node { kids { kids { kids { kids { id name } } } } } }", Supergraph.parse(sdl))
    assert (len(made.fetches), made.depth) == (41, 2)


def test_thousands_of_aliases(bounded: None) -> None:
    """One field under five thousand arguments."""
    made = plan("{ u { " + " ".join(f"b{n}: b(x: {n})" for n in range(5000)) + " } }", USERS)
    assert len(made.fetches) == 2


def nested_fragments(body: str) -> str:
    """Fragments that each spread the next one twice, to a depth of 20."""
    parts = [f"fragment F{n} on U {{ {body.replace('NEXT', f'...F{n + 1}')} }}" for n in range(20)]
    return "{ u { ...F0 } } " + " ".join(parts) + " fragment F20 on U { a b }"


def test_fragments_that_spread_one_another_on_one_object(bounded: None) -> None:
    """A fragment is followed once at one place, however often it is spread there."""
    assert len(plan(nested_fragments("NEXT NEXT a"), USERS).fetches) == 2


def test_positions_that_multiply(bounded: None) -> None:
    """A million object positions are refused with a code, before they fill the memory."""
    with pytest.raises(PlanningError) as raised:
        plan(nested_fragments("f { NEXT } g { NEXT }"), USERS)
    assert raised.value.code is ErrorCode.PLANNING_BUDGET_EXCEEDED


def test_answers_that_multiply(bounded: None) -> None:
    """A million response keys, though at a few positions, are refused as well: executing them would take them all."""
    with pytest.raises(DocumentError) as raised:
        plan(nested_fragments("x: f { NEXT } y: f { NEXT }"), USERS)
    assert raised.value.code is ErrorCode.TOO_MANY_SELECTIONS


def test_an_answer_has_as_many_fields_as_may_be_selected(bounded: None) -> None:
    """What is read of one object counts once for each place; the limit itself is planned, one less is refused."""
    operation = "{ u { x: f { a } y: f { a b a } ...F } } fragment F on U { y: f { c } }"
    assert plan(operation, USERS, selections_max=7).fetches
    with pytest.raises(DocumentError) as raised:
        plan(operation, USERS, selections_max=6)
    assert raised.value.code is ErrorCode.TOO_MANY_SELECTIONS


def test_nesting_through_fragments(bounded: None) -> None:
    """Levels count through fragments, too: beyond the limit the document is refused, not the stack overrun."""
    count = 400
    parts = [f"fragment F{n} on U {{ f {{ ...F{n + 1} }} }}" for n in range(count)]
    with pytest.raises(DocumentError) as raised:
        plan("{ u { ...F0 } } " + " ".join(parts) + f" fragment F{count} on U {{ a }}", USERS)
    assert raised.value.code is ErrorCode.DOCUMENT_TOO_DEEP
    parts = [f"fragment F{n} on U {{ f {{ ...F{n + 1} }} }}" for n in range(100)]
    made = plan("{ u { ...F0 } } " + " ".join(parts) + " fragment F100 on U { b }", USERS)
    assert len(made.fetches) == 2


def under_pairs(fields: str, between: str = "") -> str:
    """An operation that selects `fields` twenty times, each under two variables of its own, and `between` always; N is
    a number."""
    names = [f"v{n}" for n in range(40)]
    parts = [
        f"...@include(if: ${a}) {{ ...@skip(if: ${b}) {{ {fields.replace('N', b)} }} }} {between.replace('N', b)}"
        for a, b in zip(names[::2], names[1::2], strict=True)
    ]
    return f"query ({', '.join(f'${name}: Boolean!' for name in names)}) {{ {' '.join(parts)} }}"


def test_conditions_that_multiply(bounded: None) -> None:
    """Conditions over many variables are refused once they get too large."""
    with pytest.raises(PlanningError) as raised:
        plan(under_pairs("u { a b c }", "tN: t { id }"), USERS)
    assert raised.value.code is ErrorCode.PLANNING_BUDGET_EXCEEDED


def test_conditions_at_one_place(bounded: None) -> None:
    """Places of one key between which nothing can stand have one condition, however many there are."""
    made = plan(under_pairs("u { a b c } tN: t { id }"), USERS)
    assert [fetch.subgraph for fetch in made.fetches] == ["s0", "s1", "s2"]
    field, *others = made.selection.fields
    assert len(field.condition.clauses) == len(others) == 20


def test_an_operation_beyond_its_work(bounded: None) -> None:
    """What planning costs is counted as it is done: an operation is planned within its work, and refused beyond."""
    text = f"{{ u {{ {' '.join(f'b{n}: b(x: {n})' for n in range(100))} c }} }}"
    work = Work(Limits().request_work_max)
    plan(text, USERS, work=work)
    plan(text, USERS, work=Work(work.spent))
    for units in range(0, work.spent, work.spent // 20):
        with pytest.raises(PlanningError) as raised:
            plan(text, USERS, work=Work(units))
        assert raised.value.code is ErrorCode.PLANNING_BUDGET_EXCEEDED


def test_work_is_counted_in_small_steps(bounded: None) -> None:
    """However large an operation, planning looks up now and then, so that others can be served."""
    steps: list[int] = []
    work = Work(Limits().request_work_max, lambda: steps.append(work.spent))
    plan(*shelf(100, 400, 3), work=work)
    plan(under_pairs("u { a b c }"), USERS, work=work)
    assert len(steps) > 50
    assert max(later - earlier for earlier, later in pairwise([0, *steps])) < 3 * PAUSE_UNITS


def test_places_that_exclude_one_another(bounded: None) -> None:
    """An object that conditions move reads differently at each place; the shapes that are alike are shared, so that a
    chain of such places costs what its document has, and no more than one of each two counts as selected."""

    def nested(depth: int) -> str:
        variable = f"v{depth}"
        if depth == 0:
            return "a"
        return f"f @include(if: ${variable}) {{ ...F{depth} }} a f {{ ...F{depth} }}"

    depth = 40
    fragments = " ".join(f"fragment F{n} on U {{ {nested(n - 1)} }}" for n in range(1, depth + 1))
    variables = ", ".join(f"$v{n}: Boolean!" for n in range(1, depth + 1))
    work = Work(Limits().request_work_max)
    made = plan(f"query ({variables}) {{ u {{ {nested(depth)} }} }} {fragments}", USERS, work=work)
    assert len(made.fetches) == 1
    assert work.spent < 20_000
    assert prepare(made).plan is made


def test_requirements_that_never_end() -> None:
    """What requires itself cannot be reached, and the error names it."""
    with pytest.raises(PlanningError, match=r'"T.one" at "t"') as raised:
        plan("{ t { one } }", USERS)
    assert raised.value.code is ErrorCode.PLANNING_FAILED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ u { nothing } }", 'no field "nothing"'),
        ("{ u }", "must have a selection"),
        ("{ u { a { b } } }", "must not have a selection"),
        ("{ u { ...Missing } }", 'no fragment named "Missing"'),
        ("{ u { ... on Nothing { a } } }", '"Nothing"'),
        ("{ u {", "Syntax Error"),
    ],
)
def test_invalid_operations_are_refused(text: str, message: str) -> None:
    """What does not fit the supergraph raises DocumentError with the reason."""
    with pytest.raises(DocumentError, match=message):
        plan(text, USERS)


@pytest.mark.parametrize(
    ("text", "name"),
    [("query A { u { a } }", "B"), ("query A { u { a } } query B { u { b } }", None), ("fragment F on U { a }", None)],
)
def test_unknown_operations_are_refused(text: str, name: str | None) -> None:
    """No operation, not the named one, or several without a name raise OperationError."""
    with pytest.raises(OperationError):
        plan(text, USERS, name)


def test_kinds_that_the_schema_does_not_have() -> None:
    """A mutation on a schema without mutations is no operation of it."""
    with pytest.raises(OperationError, match="no mutation type"):
        plan("mutation { a }", USERS)


def test_supergraph_as_text() -> None:
    """SDL text is accepted in the place of a parsed supergraph, and refused where it is none."""
    assert len(plan("{ u { a } }", USERS.sdl).fetches) == 1
    with pytest.raises(SupergraphError):
        plan("{ u { a } }", "type Query {")


def test_subscription_starts_from_its_event() -> None:
    """A subscription's first fetch is the event; entity fetches follow from it."""
    sdl = USERS.sdl.replace("{ query: Query }", "{ query: Query subscription: Subscription }")
    made = plan("subscription { u { a b } }", sdl + " type Subscription @join__type(graph: S0) { u: U }")
    assert [(fetch.kind, fetch.subgraph, fetch.depends_on) for fetch in made.fetches] == [
        ("subscription", "s0", ()),
        ("query", "s1", (0,)),
    ]
