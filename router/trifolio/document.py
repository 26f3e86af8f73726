"""From a query's text to one valid operation: limits, parse, validate, choose.

A document is measured before anything recurses into it. The text is scanned once by a flat regular expression, which
counts tokens and nesting without building anything; only what is small and shallow enough is parsed. Selections are
then counted as if every fragment were spread, without spreading any: each fragment is measured once, and the numbers
are added up in the order in which fragments use one another. Only then come the validation rules.

Specification: GraphQL, sections 2 (language), 5 (validation) and 6.1 (executing requests).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    Token,
)
from graphql.language import DocumentNode
from graphql.language.parser import Parser

from trifolio.errors import AnswerError, ClientText, DocumentError, ErrorCode, OperationError
from trifolio.limits import Limits
from trifolio.validation import LOCATIONS_MAX, MESSAGE_CHARACTERS_MAX, validate_document
from trifolio.work import Work

# Strings and comments are matched whole, so that brackets in them do not count. The possessive quantifiers (`*+`, `++`)
# never go back, so the scan is linear. A quotation mark that starts no complete string ends the scan: the parser will
# refuse the document at that place.
_TOKEN: Final = re.compile(
    r"""
    (?P<ignored>\#[^\r\n]*+)
    | (?P<open>[{(\[])
    | (?P<close>[})\]])
    | (?P<string>\"""(?:[^"\\]++|\\\"""|\\|"{1,2}(?!"))*+\""" | "(?!"")(?:[^"\\\r\n]++|\\.)*+")
    | (?P<broken>")
    | [_A-Za-z][_0-9A-Za-z]*+
    | -?[0-9][0-9.eE+\-]*+
    | \.\.\.
    | [!$&:=@|]
    """,
    re.VERBOSE,
)


def read_document(
    text: str, schema: GraphQLSchema, limits: Limits, *, introspection: bool, work: Work | None = None
) -> DocumentNode:
    """Parse and validate `text` against the API schema, counted in `work`.

    Where introspection is not answered, errors do not say either which known name may have been meant.

    Raises:
        DocumentError: with every problem that was found.
        WorkExceeded: that takes more work than the request may cost.
    """
    work = Work(limits.request_work_max) if work is None else work
    check_text(text, limits)
    work.spend(len(text) // _CHARACTERS_PER_UNIT)
    try:
        document = _CountingParser(text, limits, work).parse_document()
        introspected = check_selections(document, limits)
        problems = validate_document(
            document,
            text,
            schema,
            work,
            errors_max=limits.validation_errors_max,
            suggests=introspection,
        )
    except GraphQLError as error:
        raise document_error(ErrorCode.GRAPHQL_PARSE_FAILED, [error]) from None
    except RecursionError:
        raise DocumentError(ErrorCode.DOCUMENT_TOO_DEEP) from None
    if problems:
        raise document_error(ErrorCode.GRAPHQL_VALIDATION_FAILED, problems)
    if introspected is not None and not introspection:
        start = introspected.loc.start_token if introspected.loc else None
        locations = ((start.line, start.column),) if start else ()
        raise DocumentError(ErrorCode.INTROSPECTION_DISABLED, locations=locations)
    return document


NAMELESS_CHARACTERS_MAX: Final = 20_000
"""20,000 characters, two milliseconds to look through: a longer document is not looked at without its name."""
_OPERATION_WORDS: Final = frozenset({"query", "mutation", "subscription"})


def without_name(text: str) -> tuple[str, str] | None:
    """The name of a document's only operation, and the text without it; None where that is not plain at first sight.

    It is plain where the text begins with the operation, and no other of its words could begin another one. Texts that
    are equal but for such a name are equally good documents, and mean the same: nothing in a document refers to the
    name of an operation.
    """
    if len(text) > NAMELESS_CHARACTERS_MAX:
        return None
    depth = 0
    name: re.Match[str] | None = None
    first = True
    for token in _TOKEN.finditer(text):
        word = token[0]
        if token.lastgroup == "ignored":
            continue
        if token.lastgroup == "broken":
            return None
        if first:
            if word not in ("query", "mutation"):
                return None
            first = False
        elif name is None:
            if not (word[0] == "_" or word[0].isalpha()):
                return None
            name = token
        elif token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close":
            depth -= 1
        elif depth == 0 and word in _OPERATION_WORDS:
            return None
    return None if name is None else (name[0], text[: name.start()] + text[name.end() :])


_TOKEN_UNITS: Final = 5
"""What reading one token takes."""

_CHARACTERS_PER_UNIT: Final = 10
"""Characters of strings, comments and blanks that are read in one unit."""


class _CountingParser(Parser):
    """graphql-core's parser; each token is counted before it is read."""

    def __init__(self, text: str, limits: Limits, work: Work) -> None:
        self._work = work
        super().__init__(text, max_tokens=limits.document_tokens_max)

    def parse_document(self) -> DocumentNode:
        """The document. Its tokens are taken apart, as in a chain each would keep all others, in circles at that."""
        document = super().parse_document()
        token: Token | None = document.loc.start_token if document.loc else None
        while token is not None:
            following, token.prev, token.next = token.next, None, None
            token = following
        return document

    def advance_lexer(self) -> None:
        """Read the next token."""
        self._work.spend(_TOKEN_UNITS)
        super().advance_lexer()


def document_error(code: ErrorCode, problems: list[GraphQLError]) -> DocumentError:
    """All of the problems under one code, with their places in the document."""
    return DocumentError(code, all_errors=[answer_error(code, problem) for problem in problems])


def answer_error(code: ErrorCode, problem: GraphQLError) -> AnswerError:
    """What graphql-core said; it knows only the client's text and the API schema, so a client may read it."""
    locations = tuple((place.line, place.column) for place in (problem.locations or ())[:LOCATIONS_MAX])
    message = problem.message
    if len(message) > MESSAGE_CHARACTERS_MAX:
        message = f"{message[:MESSAGE_CHARACTERS_MAX]}..."
    return AnswerError(code, ClientText(message), locations)


def choose_operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation called `name`, or the only one. Raises OperationError (GraphQL specification, section 6.1)."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if not name:
        if len(operations) == 1:
            return operations[0]
        message = (
            "The document has no operation." if not operations else "The document has several operations: name one."
        )
        raise OperationError(ErrorCode.OPERATION_RESOLUTION_FAILURE, ClientText(message))
    for operation in operations:
        if operation.name is not None and operation.name.value == name:
            return operation
    raise OperationError(
        ErrorCode.OPERATION_RESOLUTION_FAILURE, ClientText(f"The document has no operation called {name!r}.")
    )


# ---- the text ----


def check_text(text: str, limits: Limits) -> None:
    """Refuse a text that is too long, has too many tokens, or is nested too deeply. Raises DocumentError."""
    if len(text) > limits.document_bytes_max or len(text.encode(errors="replace")) > limits.document_bytes_max:
        raise _beyond(ErrorCode.DOCUMENT_TOO_LARGE, limits.document_bytes_max, "bytes")
    tokens = depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "ignored":
            continue
        tokens += 1
        if kind == "open":
            depth += 1
            if depth > limits.document_depth_max:
                raise _beyond(ErrorCode.DOCUMENT_TOO_DEEP, limits.document_depth_max, "levels")
        elif kind == "close":
            depth -= 1
        elif kind == "broken":
            break
        if tokens > limits.document_tokens_max:
            raise _beyond(ErrorCode.TOO_MANY_TOKENS, limits.document_tokens_max, "tokens")


def _beyond(code: ErrorCode, limit: int, unit: str) -> DocumentError:
    return DocumentError(code, ClientText(f"{code.text} The limit is {limit:,} {unit}."))


# ---- the selections ----


@dataclass(frozen=True, slots=True)
class _Measure:
    """One operation or fragment by itself: fields and aliases that it writes, and the fragments that it spreads."""

    fields: int
    root_fields: int
    aliases: int
    depth: int
    spreads: tuple[tuple[str, int], ...]
    """Each with the depth that it stands at."""
    root_spreads: tuple[str, ...]
    introspected: FieldNode | None
    """The first field that asks about the schema, `__typename` apart."""


@dataclass(frozen=True, slots=True)
class _Expanded:
    """The same with all fragments spread, counted up to one more than the limit."""

    fields: int
    root_fields: int
    depth: int


def check_selections(document: DocumentNode, limits: Limits) -> FieldNode | None:
    """The first field that asks about the schema itself, if any.

    A document whose fragments form a cycle passes: validation refuses it. Raises DocumentError for one with too many
    aliases, and with too many root fields, fields or levels once fragments are spread.
    """
    fragments = {}
    operations = []
    aliases = 0
    introspected = None
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            measure = _measure(node.selection_set)
            aliases += measure.aliases
            introspected = introspected or measure.introspected
            if isinstance(node, FragmentDefinitionNode):
                fragments[node.name.value] = measure
            else:
                operations.append(measure)
    if aliases > limits.operation_aliases_max:
        raise _beyond(ErrorCode.TOO_MANY_ALIASES, limits.operation_aliases_max, "aliases")
    expanded = _expand_fragments(fragments, limits)
    if expanded is None:
        return introspected
    for measure in operations:
        total = _expand(measure, expanded, limits)
        if total.fields > limits.operation_selections_max:
            raise _beyond(ErrorCode.TOO_MANY_SELECTIONS, limits.operation_selections_max, "fields")
        if total.root_fields > limits.operation_root_fields_max:
            raise _beyond(ErrorCode.TOO_MANY_ROOT_FIELDS, limits.operation_root_fields_max, "root fields")
        if total.depth > limits.document_depth_max:
            raise _beyond(ErrorCode.DOCUMENT_TOO_DEEP, limits.document_depth_max, "levels")
    return introspected


def _measure(selection_set: SelectionSetNode) -> _Measure:
    fields = root_fields = aliases = deepest = 0
    spreads: list[tuple[str, int]] = []
    root_spreads: list[str] = []
    introspected = None
    stack = [(selection_set, True, 1)]
    while stack:
        current, is_root, depth = stack.pop()
        deepest = max(deepest, depth)
        for selection in current.selections:
            if isinstance(selection, FragmentSpreadNode):
                spreads.append((selection.name.value, depth))
                if is_root:
                    root_spreads.append(selection.name.value)
                continue
            is_field = isinstance(selection, FieldNode)
            if isinstance(selection, FieldNode):
                fields += 1
                root_fields += is_root
                aliases += selection.alias is not None
                if introspected is None and selection.name.value in _INTROSPECTION:
                    introspected = selection
            nested: SelectionSetNode | None = getattr(selection, "selection_set", None)
            if nested is not None:
                stack.append((nested, is_root and not is_field, depth + 1))
    return _Measure(fields, root_fields, aliases, deepest, tuple(spreads), tuple(root_spreads), introspected)


_INTROSPECTION: Final = frozenset({"__schema", "__type"})


def _expand(measure: _Measure, expanded: Mapping[str, _Expanded], limits: Limits) -> _Expanded:
    spread = [(expanded[name], depth) for name, depth in measure.spreads if name in expanded]
    fields = measure.fields + sum(each.fields for each, _ in spread)
    roots = measure.root_fields + sum(expanded[name].root_fields for name in measure.root_spreads if name in expanded)
    deepest = max([measure.depth, *(depth + each.depth for each, depth in spread)])
    return _Expanded(
        min(fields, limits.operation_selections_max + 1),
        min(roots, limits.operation_root_fields_max + 1),
        min(deepest, limits.document_depth_max + 1),
    )


def _expand_fragments(fragments: Mapping[str, _Measure], limits: Limits) -> dict[str, _Expanded] | None:
    """Each fragment with what it spreads, innermost first; None where fragments form a cycle."""
    expanded: dict[str, _Expanded] = {}
    entered: set[str] = set()
    stack = list(fragments)
    while stack:
        name = stack[-1]
        if name in expanded:
            stack.pop()
            continue
        waiting = [
            each for each in {each for each, _ in fragments[name].spreads} if each in fragments and each not in expanded
        ]
        if not waiting:
            expanded[name] = _expand(fragments[name], expanded, limits)
            stack.pop()
        elif name in entered:
            return None
        else:
            entered.add(name)
            stack += waiting
    return expanded
