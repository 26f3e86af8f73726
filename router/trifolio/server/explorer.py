"""GraphiQL for browsers: a page at the endpoint and its assets beside it, from files that ship with the package.

The files are a pinned build (its recipe is in the repository); nothing is loaded from anywhere else, and the
content-security-policy says so to the browser. Every file is read once, at start, so that a request can only name what
is in the table: there is no path to traverse. The build has compressed them, too, so that no request compresses
anything.
"""

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from trifolio.errors import ConfigError
from trifolio.server.http import takes_coding

FILES: Final = Path(__file__).parent / "explorer_files"
ASSETS: Final = "graphql-assets"
"""The folder of the assets, which the page names relative to itself."""

_SETTINGS: Final = "explorer.json"
"""What the page asks for at its start: its title, the examples that open as tabs, and whether there are traces."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; worker-src 'self'; img-src 'self' data:;"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
_SECURITY_HEADERS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
# Assets carry a hash of their content in their names, so a browser may keep them for good; the page names them.
_ASSET_CACHING: Final = b"public, max-age=31536000, immutable"
_PAGE_CACHING: Final = b"no-cache"
_VARY: Final = (b"vary", b"accept-encoding")

_FALLBACK: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>GraphQL endpoint</title></head><body>
<h1>This is a GraphQL endpoint</h1>
<p>Send operations with POST and content-type application/json. The explorer's files are not part of this
installation; any GraphQL client can read the schema from here by introspection.</p>
</body></html>
"""


_CODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
"""Content codings, the smallest first, and what the names of files in them end with."""
_CODED: Final = tuple(suffix for _, suffix in _CODINGS)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, ready to send."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    etag: bytes
    coded: Mapping[str, "StaticFile"] = field(default_factory=dict)
    """The same in content codings, the smallest first."""

    def accepted(self, accept_encoding: str) -> "StaticFile":
        """The file as a client takes it: the smallest of its codings, or plain."""
        for coding, file in self.coded.items():
            if takes_coding(accept_encoding, coding):
                return file
        return self


@dataclass(frozen=True, slots=True)
class Explorer:
    """The page and its assets by file name."""

    page: StaticFile
    assets: Mapping[str, StaticFile]


def load_explorer(
    folder: Path = FILES, *, title: str = "", examples: Path | None = None, traces: bool = False
) -> Explorer:
    """Read the files; where there is no page, the explorer is a page that says what the endpoint is.

    The page is called `title`, opens the operations in the folder `examples` as tabs, and asks for `traces` where they
    are permitted. Raises ConfigError where the examples cannot be read.
    """
    page = folder / "index.html"
    if not page.is_file():
        return Explorer(_static_file(_FALLBACK.encode(), "index.html", _PAGE_CACHING), {})
    assets = {
        path.name: _read_file(path, _ASSET_CACHING)
        for path in sorted((folder / ASSETS).glob("*"))
        if path.is_file() and path.suffix not in _CODED
    }
    shown = [] if examples is None else _examples(examples)
    settings = json.dumps({"title": title, "examples": shown, "traces": traces})
    assets[_SETTINGS] = _static_file(settings.encode(), _SETTINGS, _PAGE_CACHING)
    return Explorer(_read_file(page, _PAGE_CACHING), assets)


def _examples(folder: Path) -> list[dict[str, str]]:
    try:
        return [
            {"name": path.stem, "query": path.read_text(encoding="utf-8"), "variables": _variables(path)}
            for path in sorted(folder.iterdir())
            if path.suffix == ".graphql"
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"explorer_examples: {error}") from error


def _variables(operation: Path) -> str:
    path = operation.with_suffix(".json")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _read_file(path: Path, caching: bytes) -> StaticFile:
    """A file of the build, with what the build has made of it in content codings."""
    coded = {}
    for coding, suffix in _CODINGS:
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            coded[coding] = _static_file(beside.read_bytes(), path.name, caching, coding)
    plain = _static_file(path.read_bytes(), path.name, caching)
    if not coded:
        return plain
    return replace(plain, headers=(*plain.headers, _VARY), coded=coded)


def _static_file(body: bytes, name: str, caching: bytes, coding: str = "") -> StaticFile:
    media_type = _MEDIA_TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
    headers = (
        (b"content-type", media_type.encode()),
        (b"cache-control", caching),
        (b"etag", etag),
        *_SECURITY_HEADERS,
        *(((b"content-encoding", coding.encode()), _VARY) if coding else ()),
    )
    return StaticFile(body, headers, etag)


# The machine's own table of types may lack these or know other names for them.
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".map": "application/json",
}
