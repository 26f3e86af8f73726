"""What a package index gets: exactly these files, and metadata that says what they are."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Distributions, build

PROJECT = tomllib.loads((ROOT / "router" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = f"{PROJECT['name']}-{PROJECT['version']}"
LICENSES = {"LICENSE", "trifolio/server/explorer_files/THIRD-PARTY-LICENSES.md"}


def package_files() -> set[str]:
    """The files of the package that git has, or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "trifolio"],
        cwd=ROOT / "router",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return {name for name in listed if (ROOT / "router" / name).is_file()}


def files_of_wheel(wheel: Path) -> set[str]:
    """The names of all files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(distributions: Distributions) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        return Parser().parsestr(archive.read(f"{NAME}.dist-info/METADATA").decode("utf-8"))


def test_the_wheel_is_the_package_and_what_describes_it(distributions: Distributions) -> None:
    """Every file of the package is in the wheel, and beside its description nothing else."""
    described = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt"}
    described |= {f"licenses/{name}" for name in LICENSES}
    expected = package_files() | {f"{NAME}.dist-info/{name}" for name in described}
    assert files_of_wheel(distributions.wheel) == expected


def test_the_sdist_is_the_project_and_what_describes_it(distributions: Distributions) -> None:
    """Every file of the project is in the sdist, and beside what setuptools writes down nothing else."""
    with tarfile.open(distributions.sdist) as archive:
        files = {member.name for member in archive if member.isfile()}
    written = {"SOURCES.txt", "PKG-INFO", "dependency_links.txt", "entry_points.txt", "requires.txt", "top_level.txt"}
    expected = package_files() | {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", "setup.cfg"}
    expected |= {f"trifolio.egg-info/{name}" for name in written}
    assert files == {f"{NAME}/{name}" for name in expected}


def test_what_must_be_there_is_there(distributions: Distributions) -> None:
    """Types, the explorer's page with its assets and their licences are files of the package, and so in both."""
    files = files_of_wheel(distributions.wheel)
    assert {"trifolio/py.typed", "trifolio/pytest_plugin.py", "trifolio/__main__.py"} <= files
    explorer = "trifolio/server/explorer_files"
    assert {f"{explorer}/index.html", f"{explorer}/THIRD-PARTY-LICENSES.md"} <= files
    assets = {Path(name).suffix for name in files if name.startswith(f"{explorer}/graphql-assets/")}
    assert assets == {".css", ".js", ".svg", ".ttf", ".br", ".gz"}


def test_nothing_of_the_application_is_there(distributions: Distributions) -> None:
    """No test, no service and nothing that Python or a tool left behind is in either."""
    with tarfile.open(distributions.sdist) as archive:
        names = {*files_of_wheel(distributions.wheel), *archive.getnames()}
    parts = {part for name in names for part in Path(name).parts}
    assert not parts & {"tests", "brokerage", "subgraphs", "bench", "tools", "__pycache__", "build", "node_modules"}
    assert not {name for name in names if name.endswith((".pyc", ".pyo", ".map", ".orig", "~"))}


def test_the_tree_builds_the_same_wheel_as_the_sdist(distributions: Distributions, tmp_path: Path) -> None:
    """Whoever builds from the sdist gets the files that a checkout gives."""
    build(distributions.source, tmp_path, "--wheel")
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == distributions.wheel.name
    assert files_of_wheel(wheel) == files_of_wheel(distributions.wheel)


def test_an_index_takes_both(distributions: Distributions) -> None:
    """`twine check --strict` has nothing to say against either: the index can show the README."""
    files = [str(distributions.sdist), str(distributions.wheel)]
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_say_what_it_is(metadata: Message) -> None:
    """Name, version, licence, authors, keywords and classifiers are there, and the README is the description."""
    assert (metadata["Name"], metadata["Version"]) == ("trifolio", PROJECT["version"])
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("License-File", [])) == LICENSES
    assert metadata["Author"] == metadata["Maintainer"] == "The Trifolio developers"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"federation", "graphql", "router"} <= set(metadata["Keywords"].split(","))
    classifiers = metadata.get_all("Classifier", [])
    versions = [f"Programming Language :: Python :: {version}" for version in ("3.11", "3.12", "3.13")]
    assert {"Typing :: Typed", "Framework :: Pytest", *versions} <= set(classifiers)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "router" / "README.md").read_text(encoding="utf-8")


def test_the_metadata_say_where_it_is_made(metadata: Message) -> None:
    """Every link of the project is there, and all lead into its repository."""
    urls = dict(entry.split(", ", 1) for entry in metadata.get_all("Project-URL", []))
    assert urls == PROJECT["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


def test_the_package_has_one_entry_for_each_of_its_faces(distributions: Distributions) -> None:
    """One command and one pytest plugin, both of the name of the package."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        entries = archive.read(f"{NAME}.dist-info/entry_points.txt").decode("utf-8")
        top_level = archive.read(f"{NAME}.dist-info/top_level.txt").decode("utf-8")
    assert entries.split() == [
        *("[console_scripts]", "trifolio", "=", "trifolio.command:main"),
        *("[pytest11]", "trifolio", "=", "trifolio.pytest_plugin"),
    ]
    assert top_level.split() == ["trifolio"]


def test_the_licence_is_the_repositorys() -> None:
    """router/LICENSE, which the distributions have, is the licence of the whole."""
    assert (ROOT / "router" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
