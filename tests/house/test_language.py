"""How people are written about, in what clients read and in what is read by whoever changes the code."""

import re

from tests.house.test_house_style import ROOT, tracked

# Joined from halves, so that this file does not find itself. Names of functions count: they are read like sentences.
GENDERED = re.compile(r"(?<![a-z])(?:h" + r"e|h" + r"im|h" + r"imself|h" + r"is)(?![a-z])", re.IGNORECASE)
BUILT = ("explorer_files", "docs_files")


def test_a_person_of_no_name_is_they() -> None:
    """A user, an investor or a broker may be anybody: no text, comment or name of ours takes them for a man."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked(
            ".py", ".md", ".graphql", ".toml", ".yml", ".yaml", ".txt", ".js", ".mjs", ".html", "Makefile"
        )
        if not set(BUILT) & set(path.parts)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if GENDERED.search(line)
    ]
    assert found == []
