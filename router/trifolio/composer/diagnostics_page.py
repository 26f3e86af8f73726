"""The page of all diagnostics, made out of the code table.

`python -m trifolio.composer.diagnostics_page > docs/diagnostics.md` writes it.
"""

import sys

from trifolio.composer.diagnostics import Code

HEAD = """# What composition reports

`trifolio compose` and `compose()` report everything that they find at once: errors, which leave no supergraph, and
hints, which do. Each has a code, a message, the subgraphs, and lines and columns. The codes are those of Apollo's
composition, so what is written about them elsewhere holds here.

This page is made from the table in `router/trifolio/composer/diagnostics.py`.
"""


def diagnostics_page() -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for severity, title in (("error", "Errors"), ("hint", "Hints")):
        rows = [f"| `{code.name}` | {code.meaning} |" for code in Code if code.severity == severity]
        parts.append("\n".join([f"## {title}", "", "| code | meaning |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(diagnostics_page())
