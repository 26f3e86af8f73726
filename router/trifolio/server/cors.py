"""Cross-origin resource sharing: which web pages of other origins may read the router's answers.

Specification: the Fetch standard, section 3.3 (CORS protocol).
"""

from dataclasses import dataclass

from trifolio.config import CorsConfig
from trifolio.server.http import Headers

RawHeaders = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Cors:
    """The configured policy with its constant headers made once."""

    origins: frozenset[str]
    all_origins: bool
    shared: RawHeaders
    """Sent with every answer to an allowed origin."""
    preflight: RawHeaders
    """Sent besides with the answer to a preflight; worthless to a browser without the ones above."""

    def answer_headers(self, headers: Headers) -> RawHeaders:
        """What to add to an answer; nothing for requests that need no permission or get none."""
        if not self.all_origins and not self.origins:
            return ()
        origin = headers.get("origin")
        if self.all_origins:
            return self.shared if origin is not None else ()
        if origin in self.origins:
            assert origin is not None
            return ((b"access-control-allow-origin", origin.encode("latin-1")), *self.shared)
        return ((b"vary", b"origin"),)

    def lets_in(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        return self.all_origins or origin in self.origins


def make_cors(config: CorsConfig) -> Cors:
    """The policy that `config` describes."""
    all_origins = "*" in config.origins
    shared = [(b"access-control-allow-origin", b"*")] if all_origins else [(b"vary", b"origin")]
    if config.credentials:
        shared.append((b"access-control-allow-credentials", b"true"))
    if config.expose_headers:
        shared.append((b"access-control-expose-headers", ", ".join(config.expose_headers).encode("latin-1")))
    preflight = (
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", ", ".join(config.allow_headers).encode("latin-1")),
        (b"access-control-max-age", str(config.max_age_s).encode()),
    )
    return Cors(frozenset(config.origins), all_origins, tuple(shared), preflight)
