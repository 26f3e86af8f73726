"""The catalogue of diagnostics and the page that is made from it."""

from pathlib import Path

from trifolio.composer.diagnostics_page import diagnostics_page

PAGE = Path(__file__).parents[2] / "docs" / "diagnostics.md"


def test_the_page_is_current() -> None:
    """docs/diagnostics.md says what the code table says (python -m trifolio.composer.diagnostics_page writes it)."""
    assert PAGE.read_text() == diagnostics_page()
