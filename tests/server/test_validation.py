"""Which rules look at a document: those that can find something there, and no error is missed for it."""

from random import Random

import pytest
from graphql import build_schema, parse, specified_rules

from trifolio import validation
from trifolio.validation import validate_document
from trifolio.work import Work

SCHEMA = build_schema(
    """
    directive @own on FIELD
    directive @defer(if: Boolean! = true, label: String) on FRAGMENT_SPREAD | INLINE_FRAGMENT
    directive @stream(if: Boolean! = true, label: String, initialCount: Int = 0) on FIELD
    type Query { me: User, hello(name: String!, of: Filter): String, all: [User!] }
    type Mutation { change: User }
    type Subscription { ticks: Int, tocks: Int }
    type User { id: ID!, friend: User }
    input Filter { day: Int, size: Int }
    """
)
BY_RULE = {
    "ExecutableDefinitionsRule": "{ me { id } } type A { b: Int }",
    "KnownOperationTypesRule": "subscription { ticks }",
    "UniqueOperationNamesRule": "query A { me { id } } query A { me { id } }",
    "LoneAnonymousOperationRule": "{ me { id } } query A { me { id } }",
    "SingleFieldSubscriptionsRule": "subscription { ticks tocks }",
    "KnownTypeNamesRule": "{ me { id } ... on Nothing { id } }",
    "FragmentsOnCompositeTypesRule": "{ me { id { ... on ID { x } } } }",
    "VariablesAreInputTypesRule": "query ($v: User) { me { id } }",
    "ScalarLeafsRule": "{ me }",
    "FieldsOnCorrectTypeRule": "{ me { nothing } }",
    "UniqueFragmentNamesRule": "{ me { ...F } } fragment F on User { id } fragment F on User { id }",
    "KnownFragmentNamesRule": "{ me { ...F } }",
    "NoUnusedFragmentsRule": "{ me { id } } fragment F on User { id }",
    "PossibleFragmentSpreadsRule": "{ me { ... on Query { all { id } } } }",
    "NoFragmentCyclesRule": "{ me { ...F } } fragment F on User { friend { ...F } }",
    "UniqueVariableNamesRule": "query ($v: Int, $v: Int) { hello(name: $v) }",
    "NoUndefinedVariablesRule": "{ hello(name: $v) }",
    "NoUnusedVariablesRule": "query ($v: Int) { me { id } }",
    "KnownDirectivesRule": "{ me { id @nobody } }",
    "UniqueDirectivesPerLocationRule": "{ me { id @skip(if: true) @skip(if: true) } }",
    "DeferStreamDirectiveOnRootField": "mutation { ... @defer { change { id } } }",
    "DeferStreamDirectiveOnValidOperationsRule": "subscription { ticks ... @defer { ticks } }",
    "DeferStreamDirectiveLabel": "query ($l: String) { me { ... @defer(label: $l) { id } } }",
    "StreamDirectiveOnListField": "{ me @stream { id } }",
    "KnownArgumentNamesRule": "{ me(x: 1) { id } }",
    "UniqueArgumentNamesRule": '{ hello(name: "a", name: "b") }',
    "ValuesOfCorrectTypeRule": "{ hello(name: 1) }",
    "_LiteralsRule": "query ($v: Int = X) { hello(name: 1) }",
    "ProvidedRequiredArgumentsRule": "{ hello }",
    "VariablesInAllowedPositionRule": "query ($v: Int) { hello(name: $v) }",
    "OverlappingFieldsCanBeMergedRule": "{ me { id } me: all { id } }",
    "UniqueInputFieldNamesRule": '{ hello(name: "a", of: {day: 1, day: 2}) }',
    "MaxIntrospectionDepthRule": "{ __schema { types { fields { type { fields { type { fields { type { fields "
    "{ name } } } } } } } } } }",
    "_DirectivesRule": "{ me { id @own } }",
}


def problems(text: str) -> list[str]:
    """What is told of a document."""
    found = validate_document(parse(text), text, SCHEMA, Work(10**6), errors_max=100, suggests=True)
    return [str(each) for each in found]


def of_all_rules(text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The same, where every rule looks at every document."""
    with monkeypatch.context() as patch:
        patch.setattr(validation, "_rules_for", lambda _: validation._RULES)
        return problems(text)


def test_every_rule_has_a_document_that_breaks_it() -> None:
    """A rule that comes with a new version of graphql-core needs one, too."""
    assert {rule.__name__ for rule in (*specified_rules, *validation._RULES)} == BY_RULE.keys()


@pytest.mark.parametrize("name", BY_RULE)
def test_what_a_rule_finds_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule's own document is told of as by all rules together."""
    told = problems(BY_RULE[name])
    assert told == of_all_rules(BY_RULE[name], monkeypatch)
    assert told or name == "KnownOperationTypesRule"


def test_a_document_of_fields_is_looked_at_by_few_rules() -> None:
    """No variables, arguments, fragments or directives: nothing that is about these."""
    few, all_of_them = (validation._rules_for(text) for text in ("{ me { id } }", " ".join(BY_RULE.values())))
    assert len(few) <= 9
    assert set(all_of_them) == set(validation._RULES)


def test_damaged_documents_are_told_of_as_by_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words taken from one document and put into another: whatever still parses has the same problems."""
    random = Random("damaged")
    texts = list(BY_RULE.values())
    compared = 0
    for number in range(4_000):
        words = random.choice(texts).split()
        other = random.choice(texts).split()
        start, end = sorted(random.choices(range(len(words) + 1), k=2))
        begin, stop = sorted(random.choices(range(len(other) + 1), k=2))
        text = " ".join([*words[:start], *other[begin:stop], *words[end:]])
        try:
            parse(text)
        except Exception:  # noqa: BLE001, S112 # no document
            continue
        if "type A" in text:
            continue  # refused for that alone; of what else is amiss in it less may be told
        assert problems(text) == of_all_rules(text, monkeypatch), (number, text)
        compared += 1
    assert compared > 400
