"""The rules of the house that no linter knows, checked on every file that is tracked."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
SOURCES = ("router", "subgraphs", "brokerage")
SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b[^#]*$")
# Joined from two halves, so that this file does not find itself.
# A checksum may hold the letters by chance, never as a word.
POSTPONED = re.compile(r"(?<![\w+/])(?:TO" + "DO|FIX" + "ME|XX" + r"X)(?![\w+/=])")
FOREIGN_PLACE = re.compile(
    "|".join(
        (
            r'"resolved": *"' + "https?:",
            r'registry *= *"' + "https?:",
            r"--(?:extra-)?index" + "-url",
            "--find" + "-links",
            r"(?<![\w./])/(?:work|far" + "m)/",
        )
    )
)


def tracked(*suffixes: str) -> list[Path]:
    """Files that git knows (or would add), by suffix."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = (ROOT / line for line in listed if not suffixes or line.endswith(suffixes))
    return [path for path in paths if path.is_file()]


def sources() -> list[Path]:
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] in SOURCES]


def public_definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def test_no_file_has_a_vague_name() -> None:
    """A file or folder is named for what it holds; utils, helpers, common, misc and manager hold anything."""
    vague = [path for path in tracked(".py") if VAGUE_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)]
    assert vague == []


def test_every_module_and_public_name_is_documented() -> None:
    """Every module, public function and public class says what it is for."""
    bare = []
    for path in sources():
        text = path.read_text()
        if not text.strip() or "migrations/versions" in path.as_posix():
            continue
        tree = ast.parse(text)
        if ast.get_docstring(tree) is None:
            bare.append(f"{path.relative_to(ROOT)}: module")
        bare += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in public_definitions(tree)
            if ast.get_docstring(node) is None
        ]
    assert bare == []


def test_every_test_states_its_behaviour() -> None:
    """Every test opens with one sentence that states the behaviour."""
    silent = []
    for path in tracked(".py"):
        if path.name.startswith("test_"):
            silent += [
                f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.name.startswith("test_")
                and ast.get_docstring(node) is None
            ]
    assert silent == []


def test_every_suppression_has_its_reason_beside_it() -> None:
    """A silenced linter or type checker says why, after a second `#` on the line."""
    unexplained = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(".py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if SUPPRESSION.search(line)
    ]
    assert unexplained == []


@pytest.mark.parametrize("pattern", [POSTPONED, FOREIGN_PLACE], ids=["postponed work", "places of one machine"])
def test_no_file_holds(pattern: re.Pattern[str]) -> None:
    """Nothing tracked postpones work in a comment, names a registry's host or a path of one machine."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked(".py", ".md", ".toml", ".lock", ".yml", ".yaml", ".json", "Makefile", "Dockerfile", "run")
        if "explorer_files" not in path.parts and path.name != Path(__file__).name
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
