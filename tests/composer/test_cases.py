"""Every case folder: subgraphs in, the expected supergraph or diagnostics out.

`cases/<case>/` has `case.txt` (one sentence), `subgraphs/<name>.graphql`, and what is expected: `supergraph.graphql`,
`diagnostics.txt`, or both where a hint is given. REWRITE_EXPECTED=1 writes what comes out; then read the difference.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trifolio.composer import CompositionResult, Subgraph, compose
from trifolio.composer.diagnostics import Code
from trifolio.supergraph import Supergraph

CASES = Path(__file__).parent / "cases"
REWRITE = os.environ.get("REWRITE_EXPECTED") == "1"


def case_folders() -> list[Path]:
    """All cases, by name."""
    return sorted(path for path in CASES.iterdir() if path.is_dir())


def subgraphs_of(folder: Path) -> list[Subgraph]:
    """The subgraphs of a case, in the order of their names."""
    files = sorted((folder / "subgraphs").glob("*.graphql"))
    return [Subgraph(file.stem, f"http://{file.stem}.example/graphql", file.read_text()) for file in files]


def texts_of(result: CompositionResult) -> Iterator[tuple[str, str | None]]:
    """The files that a case expects, and their text; None where there is to be none."""
    yield "supergraph.graphql", result.supergraph
    yield "diagnostics.txt", "".join(f"{each}\n" for each in result.diagnostics) or None


@pytest.mark.parametrize("folder", case_folders(), ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    """A case composes to the text, or fails with the diagnostics, that stand in its folder."""
    for name, text in texts_of(compose(subgraphs_of(folder))):
        file = folder / name
        if REWRITE:
            file.unlink(missing_ok=True)
            if text is not None:
                file.write_text(text)
        assert (file.read_text() if file.exists() else None) == text


@pytest.mark.parametrize("folder", case_folders(), ids=lambda folder: folder.name)
def test_case_in_any_order(folder: Path) -> None:
    """The order in which subgraphs are given changes nothing."""
    subgraphs = subgraphs_of(folder)
    forwards = compose(subgraphs)
    backwards = compose(subgraphs[::-1])
    assert forwards.supergraph == backwards.supergraph
    assert sorted(map(str, forwards.diagnostics)) == sorted(map(str, backwards.diagnostics))


@pytest.mark.parametrize("folder", case_folders(), ids=lambda folder: folder.name)
def test_case_round_trip(folder: Path) -> None:
    """A composed supergraph is read by the router, and what clients see of it is a valid schema."""
    text = compose(subgraphs_of(folder)).supergraph
    if text is None:
        assert "error " in (folder / "diagnostics.txt").read_text()
        return
    supergraph = Supergraph.parse(text)
    assert supergraph.api_schema.query_type is not None
    assert set(supergraph.subgraphs) == {subgraph.name for subgraph in subgraphs_of(folder)}


def test_every_case_says_what_it_shows() -> None:
    """Each case folder carries one sentence."""
    for folder in case_folders():
        assert (folder / "case.txt").read_text().strip().endswith("."), folder.name


def test_every_code_has_a_case() -> None:
    """Each code of the catalogue is reported by at least one case."""
    reported = {
        line.split()[1].rstrip(":")
        for folder in case_folders()
        if (folder / "diagnostics.txt").exists()
        for line in (folder / "diagnostics.txt").read_text().splitlines()
        if line.startswith(("error ", "hint "))
    }
    assert {code.name for code in Code} - reported == set()


def test_errors_are_located() -> None:
    """An error that one place in a schema causes names subgraph, line and column."""
    unlocated = {
        "INVALID_SUBGRAPH_NAME": "the name stands in no schema",
        "NO_QUERIES": "what is missing stands nowhere",
        "INVALID_GRAPHQL": "only where merging made it",
    }
    for folder in case_folders():
        for diagnostic in compose(subgraphs_of(folder)).diagnostics:
            assert diagnostic.locations or diagnostic.code in unlocated, (folder.name, str(diagnostic))
