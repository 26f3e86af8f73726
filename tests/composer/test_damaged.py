"""compose() with damaged input: schemas of the cases, each with a few changes at random, always end in a result."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.composer.test_cases import case_folders, subgraphs_of
from trifolio.composer import Subgraph, compose
from trifolio.composer.diagnostics import Code

SEED = 20_240_601
ROUNDS_PER_PART = 50
PARTS = 8
TOKEN = re.compile(r'"""|"[^"\n]*"|[@$&]?[_A-Za-z][_0-9A-Za-z-]*|-?[0-9.]+|\s+|.', re.DOTALL)
FOREIGN = (
    *("{", "}", "(", ")", "[", "]", "!", ":", "=", "|", "&", "@", "$", '"', '"""', "-", "é", "\\u", "\x00"),
    *("null", "1e400", "-0", '""', '"a.b"', "[[1]]", "{a: {b: $c}}", "on", "Query", "_Any", "__typename", "_Entity"),
    *("extend type Query", "scalar Int", "input", "union U =", "@key", "@link(url: 1)", '@requires(fields: "a { b")'),
    *("repeatable", "implements", "federation__FieldSet", "@shareable", "@inaccessible", '@link(url: "http://[/v1.0")'),
    *("@external", '@override(from: "a")', "@interfaceObject", '@context(name: "c")', "@oneOf", "@deprecated"),
)


def damaged(generator: random.Random, texts: list[str]) -> Iterator[str]:
    """Each text with some tokens removed, doubled, exchanged, or replaced by foreign ones."""
    donors = [TOKEN.findall(text) for text in texts]
    for tokens in donors:
        changed = list(tokens)
        for _ in range(generator.choice((0, 1, 1, 2, 5))):
            place = generator.randrange(len(changed))
            other = generator.randrange(len(changed))
            match generator.randrange(6):
                case 0:
                    del changed[place]
                case 1:
                    changed.insert(place, changed[other])
                case 2:
                    changed[place], changed[other] = changed[other], changed[place]
                case 3:
                    changed[place] = generator.choice(FOREIGN)
                case 4:
                    changed.insert(place, f" {generator.choice(FOREIGN)} ")
                case _:
                    names = [token for token in generator.choice(donors) if token[:1].isalpha() or token[:1] == "@"]
                    changed[place] = generator.choice(names) if names else ""
            changed = changed or [" "]
        yield "".join(changed)


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_schemas(part: int) -> None:
    """Whatever a schema holds, composing ends with a supergraph or with errors out of the catalogue."""
    generator = random.Random(SEED + part)
    folders: list[Path] = case_folders()
    for _ in range(ROUNDS_PER_PART):
        whole = subgraphs_of(generator.choice(folders))
        sdls = damaged(generator, [subgraph.sdl for subgraph in whole])
        subgraphs = [Subgraph(each.name, each.url, sdl) for each, sdl in zip(whole, sdls, strict=True)]
        try:
            result = compose(subgraphs)
        except Exception as error:
            error.add_note("\n".join(f"=== {each.name}\n{each.sdl}" for each in subgraphs))
            raise
        errors = {each.code for each in result.diagnostics if each.severity == "error"}
        assert (result.supergraph is None) is bool(errors)
        assert {each.code for each in result.diagnostics} <= {code.name for code in Code}
