"""router/README.md, which the package index shows: all that it tells a newcomer to write and to run does what it says.

A block whose first line is a comment with a file's name is that file; the `sh` blocks are one session in a shell; a
`text` or `json` block is what the shell block before it prints.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Distributions
from tests.system.brokerages import free_port
from trifolio.command import COMMANDS

PAGE = (ROOT / "router" / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.\w+)\n")
_PORT = re.compile(r"(?<=[ :])400\d\b")
_INSTALL = re.compile(r"^pip install .*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the page."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if it is one."""
        name = _FILE.match(self.text)
        return name[1] if name else None


def blocks() -> list[Block]:
    """The page's blocks, in order; each of the ports that it names is another that is free."""
    first = free_port()

    def free(port: re.Match[str]) -> str:
        return str(int(port[0]) - 4000 + first)

    return [Block(language, _PORT.sub(free, text)) for language, text in _BLOCK.findall(PAGE)]


def session(page: list[Block], folder: Path, path: Path, *, installing: bool) -> None:
    """Write the page's files into `folder` and run its commands there; `path` is where they are."""
    script, expected = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"], ""
    for index, block in enumerate(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            script.append(block.text if installing else _INSTALL.sub("", block.text))
            is_told = index + 1 < len(page) and page[index + 1].language in {"text", "json"}
            script.append("echo" if is_told and page[index + 1].language == "json" else "")  # curl ends without a line
            expected += page[index + 1].text if is_told else ""
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said, _, tested = done.stdout.partition("====")
    assert said == expected, done.stdout + done.stderr
    assert "1 passed" in tested


def test_every_block_is_a_file_a_command_or_what_a_command_prints() -> None:
    """No block is only for show, and every file is used by another block."""
    page = blocks()
    for index, block in enumerate(page):
        if block.file:
            stem = block.file.partition(".")[0]
            used = any(stem in other.text for other in page if other is not block)
            assert used or block.file.startswith("test_"), block.file
        elif block.language in {"text", "json"}:
            assert page[index - 1].language == "sh"
        else:
            assert block.language == "sh"


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    """In an environment that has what the page installs, every command succeeds and prints what stands below it."""
    session(blocks(), tmp_path, Path(sys.executable).parent, installing=False)


@pytest.mark.wheel
@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
def test_a_newcomer_needs_nothing_else(
    distributions: Distributions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same from an empty environment: what the page installs is all that it needs."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True, timeout=120)
    # So that `pip install trifolio` stays with this wheel, whatever an index has under the name.
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"trifolio @ {distributions.wheel.as_uri()}\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraints))
    monkeypatch.setenv("PIP_QUIET", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    folder = tmp_path / "project"
    folder.mkdir()
    session(blocks(), folder, environment / "bin", installing=True)


def test_the_table_has_every_command() -> None:
    """The page's commands are those of the command line, in its order."""
    assert re.findall(r"^\| `trifolio (\w+)` \|", PAGE, flags=re.MULTILINE) == list(COMMANDS)


def test_links_lead_to_pages_that_there_are() -> None:
    """On an index a relative link leads nowhere: each is absolute, and what it names in the repository is there."""
    urls = tomllib.loads((ROOT / "router" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    links = re.findall(r"\]\(([^)\s]+)\)", PAGE)
    assert links
    for link in {*links, *urls.values()}:
        assert link.startswith("https://"), link
        if link.startswith(f"{urls['Repository']}/blob/main/"):
            assert (ROOT / link.removeprefix(f"{urls['Repository']}/blob/main/")).is_file(), link
