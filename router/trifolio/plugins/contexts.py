"""What hooks are handed: a request, an operation, a fetch, a response. They are the plug-ins' to read and to change.

Contexts live as long as one operation. What one hook finds out for another stands in `RequestContext.state`, under a
key that nobody else has: the plug-in itself, or a name that begins with the package's.
"""

from collections.abc import Callable, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from trifolio.errors import AnswerError, PathKey, RouterError
from trifolio.executor.encoding import encode_json
from trifolio.executor.http import request_body
from trifolio.header_fields import CONNECTION_FIELDS, is_field_name
from trifolio.query_plan import OperationKind

_BODILESS: Final = frozenset({204, 205, 304})
"""Statuses of responses that have no body; an answer has one."""


@dataclass(slots=True)
class RequestContext:
    """One operation that a client wants executed; on a connection that carries several, each is one."""

    query: str
    """The document's text."""
    operation_name: str | None
    """Which of its operations; None: the only one."""
    variables: Mapping[str, object] | None
    """The operation's variables, as the client sent them."""
    headers: MutableMapping[str, str]
    """The client's headers, names in lower case. What is changed here the subgraphs get, where it is forwarded."""
    request_id: str | None = None
    """The id that stands in the log and in the response's `x-request-id`; None where nobody gave one."""
    extensions: Mapping[str, object] = field(default_factory=dict)
    """What the client says beside the query, as it came."""
    context: Any = None
    """What `Router.execute` was given, or a hook put here; transports within this process get it."""
    method: str | None = None
    """The HTTP method; None where the operation did not come over HTTP."""
    state: dict[Any, Any] = field(default_factory=dict)
    """What plug-ins know of this request."""
    claims: Mapping[str, object] | None = None
    """Who sent it: the claims of a token that a plug-in has verified; None while nobody is logged in. The supergraph's
    access rules are decided by them, so only what was verified may stand here."""

    def check(self, known: Mapping[str, str]) -> None:
        """Puts the headers' names in lower case. Raises TypeError or ValueError for what no request can be; values of
        `known` were there before and are not looked at."""
        _check_type("query", self.query, str)
        _check_type("operation_name", self.operation_name, str, type(None))
        _check_type("variables", self.variables, Mapping, type(None))
        _check_type("headers", self.headers, MutableMapping)
        _check_type("state", self.state, dict)
        _check_type("claims", self.claims, Mapping, type(None))
        changed = False
        for name, value in self.headers.items():
            if known.get(name) is not value:
                changed = True
                _check_type("a header's name", name, str)
                check_value(name, value)
        if changed:
            self.headers = {name.lower(): value for name, value in self.headers.items()}


@dataclass(slots=True)
class OperationContext:
    """An operation that was parsed and validated, and is about to be executed."""

    request: RequestContext
    """The request that it came in."""
    kind: OperationKind
    """`query`, `mutation` or `subscription`."""
    name: str | None
    """Its name in the document; None where it has none."""
    fields: frozenset[str]
    """Every field that it selects, as `Type.field`, fragments followed; introspection apart."""
    introspects: bool
    """Whether it asks `__schema` or `__type`."""
    known_labels: frozenset[str]
    """The @override labels of the supergraph."""
    labels: set[str]
    """Those of them that hold for it; a hook may add and take away."""
    hidden: set[str] = field(default_factory=set)
    """Fields, as `Type.field`, that the caller may not see: they are not fetched, and become null with an error."""
    policies: dict[str, bool | None] = field(default_factory=dict)
    """The policies (`@policy`) that guard fields of the operation, and whether the caller may pass: a hook sets True or
    False. What nobody has answered is None at the end, and a no."""

    def check(
        self, known_labels: frozenset[str], known_policies: AbstractSet[str], has_field: Callable[[str], bool]
    ) -> None:
        """Raises TypeError or ValueError where labels or policies are not of these, or what is hidden is no field."""
        for attribute, names in (("labels", self.labels), ("hidden", self.hidden)):
            _check_type(attribute, names, AbstractSet)
            for name in names:
                _check_type(f"what is in {attribute}", name, str)
        unknown = self.labels - known_labels
        if unknown:
            raise ValueError(f"the supergraph has no @override label {', '.join(sorted(unknown))}")
        no_fields = [name for name in self.hidden if not has_field(name)]
        if no_fields:
            listed = ", ".join(sorted(no_fields))
            raise ValueError(f"a field is hidden by Type.field, and the supergraph has no field {listed}")
        _check_type("policies", self.policies, dict)
        for name, answer in self.policies.items():
            if name not in known_policies:
                raise ValueError(f"no field of the operation has the policy {name!r}; it has {sorted(known_policies)}")
            _check_type(f"the answer to the policy {name!r}", answer, bool, type(None))


@dataclass(slots=True)
class FetchContext:
    """One request to a subgraph, before it is sent."""

    request: RequestContext
    """The client's request that it serves."""
    subgraph: str
    """The subgraph's name."""
    kind: OperationKind
    """`query`, `mutation` or `subscription`."""
    operation: str
    """The text of the subgraph's operation."""
    variables: Mapping[str, object]
    """Its variables; to change them, put another mapping here."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers to send in addition, or in place of others of their names; names in lower case. Empty at first: what is
    forwarded of the client's is not in here."""
    url: str | None = None
    """Where to send it, if not to the subgraph's own URL; not for subgraphs in memory."""

    @property
    def body(self) -> bytes:
        """The bytes that will be sent over HTTP, for who signs them: take them when nothing changes any more."""
        return request_body(self.operation, self.variables)

    def check(self) -> None:
        """Raises TypeError or ValueError where this cannot be sent."""
        _check_type("operation", self.operation, str)
        _check_type("variables", self.variables, Mapping)
        _check_type("headers", self.headers, Mapping)
        _check_type("url", self.url, str, type(None))
        for name, value in self.headers.items():
            check_header(name, value)


@dataclass(slots=True)
class ResponseContext:
    """A response before it is written, or one part of it."""

    request: RequestContext
    """The request that it answers."""
    data: Mapping[str, object] | None
    """What will be sent; not to be changed."""
    errors: tuple[AnswerError, ...]
    """What will be sent; not to be changed."""
    refusal: RouterError | None = None
    """Why the operation was not executed to its end."""
    extensions: dict[str, object] = field(default_factory=dict)
    """What stands beside data and errors: JSON values."""
    path: tuple[PathKey, ...] = ()
    """Of a later part: the object that it belongs to."""
    label: str | None = None
    """Of a later part: the label of its @defer."""
    has_next: bool = False
    """Whether another part comes after this one."""
    is_first: bool = True
    """False for later parts: status and headers are written by then."""
    _status: int | None = None
    _headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int | None:
        """The HTTP status; None leaves it to what happened. Setting it for a later part raises ValueError."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        self._check_first()
        check_status(status)
        self._status = status

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The HTTP headers that were added so far."""
        return tuple(self._headers)

    def add_header(self, name: str, value: str) -> None:
        """Add an HTTP header. Raises ValueError for what is none, and for a later part."""
        self._check_first()
        check_header(name.lower(), value)
        self._headers.append((name.lower(), value))

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age_s: int | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        http_only: bool = True,
        same_site: Literal["strict", "lax", "none"] = "lax",
    ) -> None:
        """Add a Set-Cookie header. Raises ValueError for what is no cookie, and for a later part."""
        from http.cookies import CookieError, SimpleCookie  # late: few set cookies, and everybody starts

        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie[name] = value
        except CookieError as error:
            raise ValueError(f"{name!r} is no cookie's name") from error
        morsel = cookie[name]
        morsel["path"] = path
        morsel["samesite"] = same_site.capitalize()
        if max_age_s is not None:
            morsel["max-age"] = max_age_s
        if domain is not None:
            morsel["domain"] = domain
        if secure:
            morsel["secure"] = True
        if http_only:
            morsel["httponly"] = True
        self.add_header("set-cookie", morsel.OutputString())

    def check(self) -> None:
        """Raises TypeError or ValueError where the extensions are no JSON."""
        check_extensions(self.extensions)

    def _check_first(self) -> None:
        if not self.is_first:
            raise ValueError("status and headers are written with the first part")


def check_header(name: str, value: str) -> None:
    """Raises TypeError or ValueError where a plug-in may not set such a header."""
    _check_type("a header's name", name, str)
    if not is_field_name(name) or name.lower() in CONNECTION_FIELDS:
        raise ValueError(f"{name!r} is no header that can be set")
    check_value(name, value)


def check_value(name: str, value: str) -> None:
    """Raises TypeError or ValueError where a header cannot have this value."""
    _check_type(f"the header {name!r}", value, str)
    if any(character in value for character in "\0\r\n"):
        raise ValueError(f"the value of the header {name!r} holds a line break or NUL")
    value.encode()  # what stands for half a character cannot be sent


def check_status(status: int) -> None:
    """Raises TypeError or ValueError where an answer cannot have this HTTP status."""
    _check_type("status", status, int)
    if not 200 <= status <= 599 or status in _BODILESS:
        raise ValueError(f"{status} is no HTTP status of a response with a body")


def check_extensions(extensions: Mapping[str, object]) -> None:
    """Raises TypeError or ValueError where these are not JSON values by name."""
    _check_type("extensions", extensions, Mapping)
    if not extensions:
        return
    for name in extensions:
        _check_type("an extension's name", name, str)
    try:
        encode_json(dict(extensions))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the extensions are no JSON: {error}") from error


def _check_type(what: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        wanted = " or ".join("None" if kind is type(None) else f"a {kind.__name__}" for kind in kinds)
        raise TypeError(f"{what} has to be {wanted}, not a {type(value).__name__}")
