"""The committed build of the explorer belongs to the committed sources, and needs nothing from elsewhere."""

import gzip
import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXPLORER = ROOT / "explorer"
OUTPUT = ROOT / "router" / "trifolio" / "server" / "explorer_files"
PAGES = ROOT / "subgraphs" / "shared" / "docs_files"
SOURCES = ("index.html", "package.json", "package-lock.json", "vite.config.js", "src")


def test_output_was_built_from_these_sources() -> None:
    """Every source and every output file has the checksum that the build wrote down; after a change: make explorer."""
    lines = (EXPLORER / "SHA256SUMS").read_text().splitlines()
    written = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    files = (
        [path for name in SOURCES for path in _files_below(EXPLORER / name)]
        + _files_below(OUTPUT)
        + _files_below(PAGES)
    )
    found = {_relative(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == written


def test_every_version_is_pinned() -> None:
    """package.json names exact versions, and the lock file no place to download them from."""
    package = json.loads((EXPLORER / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert {name: version for name, version in versions.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}
    locked = json.loads((EXPLORER / "package-lock.json").read_text())["packages"]
    assert [name for name, entry in locked.items() if "resolved" in entry] == []


def test_page_loads_only_what_lies_beside_it() -> None:
    """Every address in the page and its style sheets is relative, so nothing is asked of another host."""
    page = (OUTPUT / "index.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    for sheet in OUTPUT.glob("graphql-assets/*.css"):
        addresses += re.findall(r"url\(\s*['\"]?([^'\")]+)", sheet.read_text())
    assert len(addresses) >= 3
    assert [each for each in addresses if not each.startswith(("./", "data:", "#"))] == []


def test_what_is_compressed_is_the_file_beside_it() -> None:
    """Every file of a kilobyte or more is there in both codings, much smaller where it is text, and gzip's is the
    same; Brotli's a browser reads, in the tests beside this one."""
    plain = [
        path
        for path in _files_below(OUTPUT)
        if path.suffix not in {".br", ".gz", ".md"} and path.stat().st_size >= 1024
    ]
    assert len(plain) > 10
    for path in plain:
        zipped = path.with_name(f"{path.name}.gz").read_bytes()
        assert gzip.decompress(zipped) == path.read_bytes()
        assert path.with_name(f"{path.name}.br").stat().st_size <= len(zipped) < path.stat().st_size


def _files_below(path: Path) -> list[Path]:
    return [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]


def _relative(path: Path) -> str:
    return str(path.relative_to(EXPLORER)) if path.is_relative_to(EXPLORER) else f"../{path.relative_to(ROOT)}"
