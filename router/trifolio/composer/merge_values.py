"""Merging what several kinds of elements have: types, default values, descriptions.

Output types widen (a field may be null if one subgraph may return null), input types narrow (an argument is required if
one subgraph requires it). Default values must agree.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from graphql.language import ConstValueNode, Node

from trifolio.composer.diagnostics import Code
from trifolio.composer.schema import is_list, is_non_null, item_type, nullable
from trifolio.composer.sources import Merging, Source
from trifolio.composer.values import compared, written

IsSubtype = Callable[[str, str], bool]
"""Whether the first named type is an implementation or member of the second, in the merged supergraph."""

TypedSource = tuple[Source, str, Node]
"""A source, the type that it gives an element, and the element's node."""


def is_strict_subtype(type_text: str, sub: str, is_subtype: IsSubtype) -> bool:
    """Whether `sub` is a subtype of `type_text` and not the same: `Dog!` of `Pet`, `[Int!]` of `[Int]`."""
    if is_non_null(sub):
        if is_non_null(type_text):
            return is_strict_subtype(nullable(type_text), nullable(sub), is_subtype)
        return nullable(sub) == type_text or is_strict_subtype(type_text, nullable(sub), is_subtype)
    if is_non_null(type_text):
        return False
    if is_list(sub):
        return is_list(type_text) and is_strict_subtype(item_type(type_text), item_type(sub), is_subtype)
    return not is_list(type_text) and type_text != sub and is_subtype(sub, type_text)


def merged_type(
    merging: Merging,
    coordinate: str,
    sources: Sequence[TypedSource],
    is_subtype: IsSubtype,
    *,
    what: str,
    narrows: bool,
) -> tuple[str, bool]:
    """(the merged type, whether all sources say the same); reports types that cannot be merged.

    `what` is "field" or "argument"; `narrows` is true for elements that clients fill in.
    """
    result = sources[0][1]
    differs = incompatible = False
    for _, each, _ in sources:
        if each == result:
            continue
        if is_strict_subtype(result, each, is_subtype):
            differs = True
            result = each if narrows else result
        elif is_strict_subtype(each, result, is_subtype):
            differs = True
            result = result if narrows else each
        else:
            incompatible = True
    if incompatible or differs:
        code = _type_code(what, incompatible=incompatible)
        verb = "incompatible types" if incompatible else "compatible but different types"
        message = f'Type of {what} "{coordinate}" differs across subgraphs, {verb}: {_types_listed(sources)}.'
        if incompatible:
            message += " Give it one type everywhere."
        merging.diagnostics.add(code, message, [(source.name, node) for source, _, node in sources])
    return result, not (differs or incompatible)


def _type_code(what: str, *, incompatible: bool) -> Code:
    if what == "argument":
        return Code.FIELD_ARGUMENT_TYPE_MISMATCH if incompatible else Code.INCONSISTENT_BUT_COMPATIBLE_ARGUMENT_TYPE
    return Code.FIELD_TYPE_MISMATCH if incompatible else Code.INCONSISTENT_BUT_COMPATIBLE_FIELD_TYPE


def _types_listed(sources: Iterable[TypedSource]) -> str:
    found: dict[str, list[str]] = {}
    for source, each, _ in sources:
        found.setdefault(each, []).append(f'"{source.name}"')
    return ", ".join(f'"{each}" in {", ".join(names)}' for each, names in found.items())


def merged_default(
    merging: Merging,
    coordinate: str,
    sources: Sequence[tuple[Source, ConstValueNode | None, Node]],
    type_text: str,
    *,
    what: str,
) -> str | None:
    """The default value that all sources agree on; reports different ones."""
    texts = [written(value, type_text, merging.type_of) if value else None for _, value, _ in sources]
    distinct = {compared(value, type_text, merging.type_of) for _, value, _ in sources if value}
    given = [text for text in texts if text is not None]
    places = [(source.name, node) for source, _, node in sources]
    if len(distinct) > 1:
        code = Code.FIELD_ARGUMENT_DEFAULT_MISMATCH if what == "argument" else Code.INPUT_FIELD_DEFAULT_MISMATCH
        values = ", ".join(
            f'{text or "none"} in "{source.name}"' for text, (source, _, _) in zip(texts, sources, strict=True)
        )
        message = (
            f'Default value of {what} "{coordinate}" differs across subgraphs: {values}. Use one value everywhere.'
        )
        merging.diagnostics.add(code, message, places)
        return given[0]
    if given and None in texts:
        message = f'{what.capitalize()} "{coordinate}" has a default value in some subgraphs only, so it has none.'
        merging.diagnostics.add(Code.INCONSISTENT_DEFAULT_VALUE_PRESENCE, message, places)
        return None
    return given[0] if given else None


def merged_description(
    merging: Merging, coordinate: str, sources: Iterable[tuple[Source, str | None, Node | None]]
) -> str | None:
    """The description that most sources give; the first one of those where several are as frequent."""
    given = [(source, text, node) for source, text, node in sources if text]
    if not given:
        return None
    counts = Counter(text for _, text, _ in given)
    best = max(counts, key=lambda text: (counts[text], -list(counts).index(text)))
    if len(counts) > 1:
        message = f'"{coordinate}" has different descriptions across subgraphs; the most frequent one is used.'
        merging.diagnostics.add(
            Code.INCONSISTENT_DESCRIPTION, message, [(source.name, node) for source, _, node in given]
        )
    return best
