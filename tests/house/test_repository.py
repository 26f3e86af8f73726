"""What the files beside the code promise: built files are marked, versions agree, commit hooks need no network."""

import re
import subprocess
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import UNMEASURED
from tests.house.test_house_style import ROOT, tracked
from tools.lock import LOCKS, requirements

BUILT_FOLDERS = {"explorer_files", "docs_files"}


def git(*arguments: str) -> str:
    """What a git command prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def built_files() -> list[str]:
    """What a build wrote: the explorer, the OpenAPI pages, npm's lock files."""
    paths = (path.relative_to(ROOT) for path in tracked())
    return [str(path) for path in paths if BUILT_FOLDERS & set(path.parts) or path.name == "package-lock.json"]


def test_a_search_finds_no_built_file() -> None:
    """`git grep -I` passes over what was built, and finds the sources."""
    found = git("grep", "-I", "--files-with-matches", "-e", "function", "-e", "version").splitlines()
    assert "explorer/src/fetcher.js" in found
    assert set(found) & set(built_files()) == set()


def test_built_files_are_marked() -> None:
    """`git diff` says of a built file that it changed, without its lines, and the repository's host folds it."""
    files = built_files()
    assert len(files) > 10
    lines = git("check-attr", "diff", "linguist-generated", "--", *files).splitlines()
    unmarked = [line for line in lines if not line.endswith((": diff: unset", ": linguist-generated: set"))]
    assert (len(lines), unmarked) == (2 * len(files), [])


def test_the_versions_agree() -> None:
    """The router and the application have one version, and the changelog has a heading for it."""
    versions = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["version"] for folder in ("", "router")
    }
    assert len(versions) == 1
    headings = re.findall(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in versions


def test_every_requirement_is_locked() -> None:
    """Each lock file pins, by version alone, whatever its part of the project asks for by name."""
    for name, parts in LOCKS.items():
        lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
        locked = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}
        for requirement in map(Requirement, requirements(parts)):
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), (name, requirement)


def test_what_is_not_measured_exists() -> None:
    """Each folder, file or test that is left out of measuring is there, so that a new name is measured again."""
    for place in UNMEASURED:
        path, _, name = place.partition("::")
        assert (ROOT / path).exists(), place
        assert f"def {name}(" in (ROOT / path).read_text() if name else True, place


def test_the_commit_hooks_are_local() -> None:
    """Hooks run the project's own tools, those of `make check`, so that committing needs no network."""
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system"}
    commands = [hook["entry"].removeprefix(".venv/bin/") for hook in repositories[0]["hooks"]]
    recipes = set(re.findall(r"^\t\$\(BIN\)/(.+?)(?: \.)?$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {command.removesuffix(" --force-exclude") for command in commands} <= recipes
