"""The documents: every link leads somewhere, and every file and test that a guide names is there."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ("router/trifolio/server/explorer_files/",)

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"|^\[[^\]]+\]: (\S+)', re.MULTILINE)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_NAMED_FILE = re.compile(r"`((?:router|subgraphs|brokerage|tests|tools|bench|docs|deploy)/[\w./-]+\.\w+)(?:::(\w+))?`")


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if not name.startswith(BUILT)]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to a page's headings; the second of one name ends in -1."""
    seen: Counter[str] = Counter()
    names = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def dead_links(page: Path) -> list[str]:
    dead = []
    for found in _LINK.findall(_FENCE.sub("", page.read_text())):
        link = "".join(found)
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        is_dead = not target.exists() or (
            heading and target.suffix == ".md" and heading not in anchors(target.read_text())
        )
        if is_dead and not re.match(r"[a-z]+:", link):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file that is there, and a heading that it has."""
    assert dead_links(page) == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "docs/dev/release.md"])
def test_the_files_that_a_guide_names_are_there(name: str) -> None:
    """A guide that sends somebody to a file or to a test names it as it is called today."""
    for path, test in _NAMED_FILE.findall((ROOT / name).read_text()):
        assert (ROOT / path).exists(), path
        if test:
            tree = ast.parse((ROOT / path).read_text())
            assert test in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}, f"{path}::{test}"
