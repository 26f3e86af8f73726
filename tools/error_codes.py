"""Writes docs/error-codes.md from the services' catalogues. `make docs` runs it."""

from pathlib import Path

from brokerage.error_codes import error_page

Path(__file__).parents[1].joinpath("docs", "error-codes.md").write_text(error_page(), encoding="utf-8")
