"""Documents: what is refused, with which code, and how little that costs."""

from itertools import accumulate

import pytest
from graphql import (
    GraphQLSyntaxError,
    Lexer,
    Source,
    TokenKind,
    ValuesOfCorrectTypeRule,
    build_schema,
    parse,
    validate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from trifolio.document import NAMELESS_CHARACTERS_MAX, check_text, choose_operation, read_document, without_name
from trifolio.errors import DocumentError, ErrorCode, OperationError
from trifolio.limits import Limits
from trifolio.work import Work, WorkExceeded

SCHEMA = build_schema("type Query { me: User, hello(name: String): String } type User { id: ID!, friend: User }")
LIMITS = Limits()


def refusal(
    text: str, limits: Limits = LIMITS, *, introspection: bool = True, work: Work | None = None
) -> DocumentError:
    with pytest.raises(DocumentError) as raised:
        read_document(text, SCHEMA, limits, introspection=introspection, work=work)
    return raised.value


def nested(levels: int) -> str:
    return "{ me " + "{ friend " * levels + "{ id }" + " }" * levels + " }"


def doubling(fragments: int) -> str:
    """Every fragment spreads the next one twice: short to write, 2 ** fragments fields to execute."""
    parts = [f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(fragments)]
    return " ".join(["{ me { ...F0 } }", *parts, f"fragment F{fragments} on User {{ id }}"])


REFUSED = {
    "not GraphQL": ("{ me", ErrorCode.GRAPHQL_PARSE_FAILED),
    "empty": ("", ErrorCode.GRAPHQL_PARSE_FAILED),
    "an open string": ('{ hello(name: "', ErrorCode.GRAPHQL_PARSE_FAILED),
    "an open block string": ('{ hello(name: """' + '\\"""' * 5000, ErrorCode.GRAPHQL_PARSE_FAILED),
    "unknown field": ("{ me { nothing } }", ErrorCode.GRAPHQL_VALIDATION_FAILED),
    "wrong argument": ("{ hello(name: 1) }", ErrorCode.GRAPHQL_VALIDATION_FAILED),
    "a cycle of fragments": (
        "{ me { ...A } } fragment A on User { ...B } fragment B on User { ...A }",
        ErrorCode.GRAPHQL_VALIDATION_FAILED,
    ),
    "a long cycle of fragments": (
        "{ me { ...F0 } } " + " ".join(f"fragment F{n} on User {{ ...F{(n + 1) % 900} }}" for n in range(900)),
        ErrorCode.GRAPHQL_VALIDATION_FAILED,
    ),
    "10,000 aliases": ("{ " + " ".join(f"a{n}: hello" for n in range(10_000)) + " }", ErrorCode.TOO_MANY_TOKENS),
    "1,001 aliases": ("{ " + " ".join(f"a{n}: hello" for n in range(1_001)) + " }", ErrorCode.TOO_MANY_ALIASES),
    "201 root fields": ("{ " + "hello " * 201 + "}", ErrorCode.TOO_MANY_ROOT_FIELDS),
    "root fields in fragments": (
        "{ " + "...F " * 21 + "} fragment F on Query { ... on Query { " + "hello " * 10 + "} }",
        ErrorCode.TOO_MANY_ROOT_FIELDS,
    ),
    "1,000 levels": (nested(1_000), ErrorCode.DOCUMENT_TOO_DEEP),
    "100,000 brackets": ("{ hello(name: " + "[" * 50_000 + "]" * 50_000 + ") }", ErrorCode.DOCUMENT_TOO_DEEP),
    "exponential fragments": (doubling(40), ErrorCode.TOO_MANY_SELECTIONS),
    "201 kB": ("{ hello } #" + "x" * 201_000, ErrorCode.DOCUMENT_TOO_LARGE),
    "multi-byte characters": ("{ hello } #" + "€" * 70_000, ErrorCode.DOCUMENT_TOO_LARGE),
}


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_executed_is_refused_by_code_and_at_once(text: str, code: ErrorCode) -> None:
    """A document that is wrong or beyond a limit is refused with its code, within half of what a request may cost."""
    work = Work(LIMITS.request_work_max // 2)
    error = refusal(text, work=work)
    assert error.code is code


def test_brackets_in_strings_and_comments_do_not_nest() -> None:
    """What stands in a string or a comment is no nesting and no token of its own."""
    limits = Limits(document_depth_max=2, document_tokens_max=8)
    check_text('{ hello(name: "' + "{" * 300 + '\\"") } # ' + "[" * 300, limits)
    check_text('{ hello(name: """' + "(" * 300 + ' \\""" "" """) }', limits)


PIECES = st.one_of(
    st.sampled_from(
        ["{", "}", "(", ")", "[", "]", "...", "!", "$", "&", ":", "=", "@", "|", ",", "\ufeff", "\n", "\t"]
    ),
    st.from_regex(r"[_A-Za-z][_0-9A-Za-z]{0,5}", fullmatch=True),
    st.sampled_from(["0", "-1", "12", "1.5", "-0.1e10", "3E-2"]),
    st.text("ab{}()[]#:.é🎲 \t", max_size=6).map(lambda text: f'"{text}"'),
    st.sampled_from(['""', '"\\""', '"\\\\"', '"\\u00e9"']),
    st.text('ab{}()[]#:"\n ', max_size=8).map(lambda text: f'"""{text} """'),
    st.sampled_from(['""""""', '"""\\""" { """', '"""a\\"""', '""" "" """']),
    st.text('ab{}()[]"#', max_size=6).map(lambda text: f"#{text}\n"),
)


def lexed(text: str) -> list[TokenKind]:
    """The kinds of all tokens, as graphql-core reads them."""
    lexer = Lexer(Source(text))
    kinds: list[TokenKind] = []
    while (token := lexer.advance()).kind is not TokenKind.EOF:
        kinds.append(token.kind)
    return kinds


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map(" ".join))
def test_the_scan_counts_what_the_lexer_reads(text: str) -> None:
    """The scan before parsing sees the tokens and the nesting that graphql-core's own lexer sees."""
    try:
        kinds = lexed(text)
    except GraphQLSyntaxError:
        return
    opening = {TokenKind.BRACE_L, TokenKind.PAREN_L, TokenKind.BRACKET_L}
    closing = {TokenKind.BRACE_R, TokenKind.PAREN_R, TokenKind.BRACKET_R}
    depths = list(accumulate((kind in opening) - (kind in closing) for kind in kinds))
    tokens, depth = max(len(kinds), 1), max([1, *depths])
    check_text(text, Limits(document_tokens_max=tokens, document_depth_max=depth))
    if len(kinds) > 1:
        with pytest.raises(DocumentError):
            check_text(text, Limits(document_tokens_max=len(kinds) - 1, document_depth_max=1_000))
    if max(depths, default=0) > 1:
        with pytest.raises(DocumentError):
            check_text(text, Limits(document_depth_max=max(depths) - 1))


def test_limits_are_inclusive() -> None:
    """As many as the limit says are allowed; one more is not."""
    text = "{ me { a: id b: id } }"
    exact = Limits(document_tokens_max=11, operation_aliases_max=2, operation_selections_max=3, document_depth_max=2)
    read_document(text, SCHEMA, exact, introspection=True)
    assert refusal(text, Limits(document_tokens_max=10)).code is ErrorCode.TOO_MANY_TOKENS
    assert refusal(text, Limits(operation_aliases_max=1)).code is ErrorCode.TOO_MANY_ALIASES
    assert refusal(text, Limits(operation_selections_max=2)).code is ErrorCode.TOO_MANY_SELECTIONS
    assert refusal(text, Limits(document_depth_max=1)).code is ErrorCode.DOCUMENT_TOO_DEEP


def test_every_problem_is_told_with_its_place() -> None:
    """Validation tells all problems at once, each with line and column."""
    errors = refusal("{\n  nothing\n  me { neither }\n}").errors()
    assert [error.locations for error in errors] == [((2, 3),), ((3, 8),)]


def test_a_fragment_used_often_is_counted_as_often() -> None:
    """Selections are counted with every fragment spread, to the last one that fits."""
    text = "{ me { ...A ...A } } fragment A on User { ...B ...B } fragment B on User { id friend { id } }"
    read_document(text, SCHEMA, Limits(operation_selections_max=13), introspection=True)
    assert refusal(text, Limits(operation_selections_max=12)).code is ErrorCode.TOO_MANY_SELECTIONS


def test_introspection_can_be_switched_off() -> None:
    """Without introspection __schema is refused, while __typename is answered."""
    assert refusal("{ __schema { description } }", introspection=False).code is ErrorCode.INTROSPECTION_DISABLED
    read_document("{ __typename }", SCHEMA, LIMITS, introspection=False)


UNRESOLVED = {
    "several, none named": ("query A { hello } query B { hello }", None),
    "another name": ("query A { hello }", "B"),
    "only a fragment": ("fragment F on Query { hello }", None),
}


@pytest.mark.parametrize(("text", "name"), UNRESOLVED.values(), ids=UNRESOLVED)
def test_an_operation_that_is_not_there_is_refused(text: str, name: str | None) -> None:
    """The operation to execute has to be one, and has to be in the document."""
    with pytest.raises(OperationError) as error:
        choose_operation(parse(text), name)
    assert error.value.code is ErrorCode.OPERATION_RESOLUTION_FAILURE


INPUTS = build_schema(
    """
    type Query { find(by: By, colour: Colour, list: [By!]): String }
    input By { title: String!, at: At, list: [At] }
    input At { x: Int!, y: Float }
    input Either @oneOf { a: Int, b: Int }
    enum Colour { RED GREEN }
    extend type Query { either(of: Either): Int }
    """
)
LITERALS = [
    "null",
    "{}",
    '{title: "t"}',
    "{title: 1}",
    "{title: null}",
    '{title: "t", at: {x: 1, y: 2}}',
    '{title: "t", at: {x: "1", z: 2}}',
    '{title: "t", at: [{x: 1}]}',
    '{title: "t", list: {x: 1}}',
    '{title: "t", list: [{x: 1}, null, {y: 1}]}',
    '{title: $t, titel: "t"}',
    "[]",
    "7",
    "RED",
]


@pytest.mark.parametrize("literal", LITERALS)
@pytest.mark.parametrize("argument", ["find(by: %s)", "find(list: [%s])", "find(list: %s)", "find(colour: %s)"])
def test_literals_are_judged_as_graphql_core_judges_them(argument: str, literal: str) -> None:
    """As many errors at the same places, without quoting the whole object in each."""
    text = f"query ($t: String!) {{ {argument % literal} unused: find(by: {{title: $t}}) }}"
    theirs = validate(INPUTS, parse(text), [ValuesOfCorrectTypeRule])
    try:
        read_document(text, INPUTS, LIMITS, introspection=True)
        ours = []
    except DocumentError as refused:
        ours = [error.locations for error in refused.errors()]
    assert ours == [tuple((place.line, place.column) for place in error.locations or ()) for error in theirs]


@pytest.mark.parametrize("literal", ["{a: 1}", "{b: null}", "{}", "{a: 1, b: 2}", "{c: 1}"])
def test_one_of_several_fields_is_judged_as_graphql_core_judges_it(literal: str) -> None:
    """An input of which exactly one field is given is refused where graphql-core refuses it."""
    text = f"{{ either(of: {literal}) }}"
    theirs = validate(INPUTS, parse(text), [ValuesOfCorrectTypeRule])
    if not theirs:
        read_document(text, INPUTS, LIMITS, introspection=True)
        return
    with pytest.raises(DocumentError) as refused:
        read_document(text, INPUTS, LIMITS, introspection=True)
    assert len(refused.value.errors()) == len(theirs)


@pytest.mark.parametrize(
    "text",
    [
        "{ find(by: {" + " ".join(f"titel{n}: 1" for n in range(1_500)) + "}) }",
        "{ " + " ".join(f"a{n}: nothing{n}" for n in range(190)) + " }",
        '{ find(colour: "' + "x" * 100_000 + '") }',
        "{ " + " ".join(f"find(by: {n})" for n in range(150)) + " }",
        "{ " + "x" * 50_000 + " }",
    ],
    ids=["unknown keys", "unknown fields", "a long value", "arguments that differ", "a long name"],
)
def test_what_is_told_is_no_longer_than_the_document(text: str) -> None:
    """The errors of a document together are about as long as it is, however often a message would repeat it."""
    with pytest.raises(DocumentError) as refused:
        read_document(text, INPUTS, LIMITS, introspection=True)
    errors = refused.value.errors()
    assert all(len(error.message) <= 310 for error in errors)
    assert sum(len(str(error.to_json())) for error in errors) <= max(1.5 * len(text), 6_000)


def test_known_names_are_suggested_in_the_first_errors_only() -> None:
    """Five errors say what may have been meant, later ones do not; without introspection none does."""
    text = "{ " + " ".join(f"a{n}: helo" for n in range(20)) + " }"
    suggesting = [error for error in refusal(text).errors() if "Did you mean 'hello'?" in error.message]
    assert 1 <= len(suggesting) <= 5
    assert not [error for error in refusal(text, introspection=False).errors() if "hello" in error.message]


def test_in_a_large_schema_nothing_is_suggested() -> None:
    """A name is not compared with thousands of others."""
    names = " ".join(f"colour{n}: Int" for n in range(2_000))
    large = build_schema(f"type Query {{ {names} }}")
    work = Work(1_000)
    with pytest.raises(DocumentError) as refused:
        read_document("{ color7 }", large, LIMITS, introspection=True, work=work)
    [error] = refused.value.errors()
    assert error.message == "Cannot query field 'color7' on type 'Query'."


MANY_TIMES = {
    "a fragment for each operation": " ".join(f"query Q{n} {{ ...F{n // 99} ...F{n % 99} }}" for n in range(550))
    + " ".join(f"fragment F{n} on Query {{ hello ...F{n + 1} }}" for n in range(99))
    + "fragment F99 on Query { hello }",
    "a variable for each operation": " ".join(f"query Q{n}($v: String) {{ ...F }}" for n in range(500))
    + "fragment F on Query { "
    + " ".join("hello(name: $v)" for _ in range(150))
    + " }",
}


@pytest.mark.parametrize("text", MANY_TIMES.values(), ids=MANY_TIMES)
def test_what_takes_more_work_than_a_request_may_is_refused(text: str) -> None:
    """What is looked at again for every operation is counted, and ends with the code of the budget."""
    with pytest.raises(WorkExceeded) as refused:
        read_document(text, SCHEMA, LIMITS, introspection=True)
    assert refused.value.code is ErrorCode.OPERATION_TOO_COSTLY


def test_fragments_that_nest_too_deep_are_told_so() -> None:
    """Levels count through fragments, to the last one that is allowed."""
    chain = " ".join(f"fragment F{n} on User {{ friend {{ ...F{n + 1} }} }}" for n in range(9))
    text = f"{{ me {{ ...F0 }} }} {chain} fragment F9 on User {{ id }}"
    read_document(text, SCHEMA, Limits(document_depth_max=21), introspection=True)
    assert refusal(text, Limits(document_depth_max=20)).code is ErrorCode.DOCUMENT_TOO_DEEP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("query A { me { name } }", ("A", "query  { me { name } }")),
        (" # query X\n query, A($q: Int = 1) @d { me }", ("A", " # query X\n query, ($q: Int = 1) @d { me }")),
        ("mutation query { rename }", ("query", "mutation  { rename }")),
        (
            'query A{query:me(a:"query B {")}fragment F on T{id}',
            ("A", 'query {query:me(a:"query B {")}fragment F on T{id}'),
        ),
        ("query A{query:me}", ("A", "query {query:me}")),
        ("query A { ...F } fragment F on Person { id }", ("A", "query  { ...F } fragment F on Person { id }")),
        ("query { me }", None),
        ("{ me }", None),
        ("query A { me } query B { me }", None),
        ("fragment F on Person { id } query A { ...F }", None),
        ("query A { ...query } fragment query on Person { id }", None),
        ("subscription A { me }", None),
        ("query 5 { me }", None),
        ('query A { me(a: "', None),
        ("query", None),
        ("", None),
        ("query A { me }" + " " * NAMELESS_CHARACTERS_MAX, None),
    ],
)
def test_a_name_is_taken_out_where_it_is_the_only_one(text: str, expected: tuple[str, str] | None) -> None:
    """The name of a document's only operation, wherever blanks and comments are; of anything else nothing."""
    assert without_name(text) == expected
