"""The mistakes that `make mutants` plants: each finds the text that it is to change."""

import pytest

from tests.faults.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_text_stands_where_it_is_planted(mutant: Mutant) -> None:
    """Once in its file: else the mutant would prove nothing, and nobody would know before the next long run."""
    for edit in mutant.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == 1, edit.old
        assert edit.new != edit.old
