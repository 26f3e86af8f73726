"""Everything that can go wrong: the tree of exceptions, the catalogue of codes, and which text a client may read.

The tree says whose fault it is, and so who can mend it:

    RouterError
    ├── RequestError            the client's: the request is refused before anything is fetched
    │   ├── DocumentError       the document does not parse, is not valid, or is beyond a limit
    │   ├── OperationError      no operation, or no such operation, or one that this method may not run
    │   ├── VariablesError      the variables do not fit the operation
    │   ├── Unauthorized        it selects what its caller may not see, and the router is set to reject that
    │   └── Refused             a plug-in will not have it
    ├── SubgraphError           a subgraph's: one fetch failed, the rest of the answer stands
    ├── ConfigurationError      the operator's: refused at start, never while serving
    │   ├── ConfigError         supergraph.yaml or router.yaml
    │   └── SupergraphError     the supergraph's text
    ├── PlanningError           the router's: a valid operation that it cannot plan
    └── InternalError           the router's: a bug

A code of `ErrorCode` stands in `extensions.code` and never changes its meaning; the catalogue gives each its fault, its
HTTP status and its text. What a client may read is a `ClientText`; what names addresses, causes or stacks is an
`InternalText`, which is no `str` and cannot get into an answer by accident.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NewType

ClientText = NewType("ClientText", str)
"""Text that anybody may read: written for clients, with no address, stack, or name that the API schema hides."""


@dataclass(frozen=True, slots=True)
class InternalText:
    """Text for logs alone: addresses, causes, what a library said. Not a `str`, so it cannot be put into an answer."""

    text: str
    """What only logs and tracebacks show."""


class Fault(StrEnum):
    """Who has to change something."""

    CLIENT = "client"
    SUBGRAPH = "subgraph"
    OPERATOR = "operator"
    ROUTER = "router"


class ErrorCode(Enum):
    """The catalogue: every code, whose fault it is, the HTTP status where it refuses a request, and its meaning.

    The status is the one that `application/graphql-response+json` shows. Codes with status 200 stand beside data.
    """

    # The HTTP request.
    BAD_REQUEST = (Fault.CLIENT, 400, "The request is not a GraphQL request.")
    CSRF_REJECTED = (
        Fault.CLIENT,
        400,
        "A browser could send this request on a stranger's behalf. Send a JSON content type, or the header"
        " apollo-require-preflight with any value.",
    )
    NOT_FOUND = (Fault.CLIENT, 404, "There is nothing at this path.")
    METHOD_NOT_ALLOWED = (Fault.CLIENT, 405, "This path does not take this method.")
    NOT_ACCEPTABLE = (
        Fault.CLIENT,
        406,
        "The answer is application/graphql-response+json or application/json; the Accept header takes neither.",
    )
    REQUEST_TIMEOUT = (Fault.CLIENT, 408, "The request did not arrive in time.")
    BODY_TOO_LARGE = (Fault.CLIENT, 413, "The request's body is larger than this router accepts.")
    URL_TOO_LONG = (Fault.CLIENT, 414, "The URL is longer than this router accepts. Send the operation with POST.")
    UNSUPPORTED_MEDIA_TYPE = (Fault.CLIENT, 415, "The body has to be application/json in UTF-8, not compressed.")
    HEADERS_TOO_LARGE = (Fault.CLIENT, 431, "The request's headers are larger than this router accepts.")
    OVERLOADED = (Fault.ROUTER, 503, "The router is busy or about to stop. Try again shortly.")
    NOT_READY = (Fault.ROUTER, 503, "The router does not take requests at the moment.")

    # The document, the operation, the variables.
    GRAPHQL_PARSE_FAILED = (Fault.CLIENT, 400, "The document is not GraphQL.")
    GRAPHQL_VALIDATION_FAILED = (Fault.CLIENT, 400, "The document does not fit the schema.")
    DOCUMENT_TOO_LARGE = (Fault.CLIENT, 400, "The document is larger than this router accepts.")
    DOCUMENT_TOO_DEEP = (Fault.CLIENT, 400, "The document is nested deeper than this router accepts.")
    TOO_MANY_TOKENS = (Fault.CLIENT, 400, "The document has more tokens than this router accepts.")
    TOO_MANY_ALIASES = (Fault.CLIENT, 400, "The operation has more aliases than this router accepts.")
    TOO_MANY_ROOT_FIELDS = (Fault.CLIENT, 400, "The operation has more root fields than this router accepts.")
    TOO_MANY_SELECTIONS = (Fault.CLIENT, 400, "The operation selects more fields than this router accepts.")
    OPERATION_TOO_COSTLY = (Fault.CLIENT, 400, "Answering this operation takes more work than this router accepts.")
    INTROSPECTION_DISABLED = (Fault.CLIENT, 400, "This router does not answer introspection.")
    OPERATION_RESOLUTION_FAILURE = (Fault.CLIENT, 400, "The document does not have the operation to execute.")
    MUTATION_OVER_GET = (Fault.CLIENT, 405, "GET runs queries only. Send this operation with POST.")
    UNAUTHORIZED_FIELD_OR_TYPE = (Fault.CLIENT, 200, "The caller may not see this field.")
    PLUGIN_REFUSED = (Fault.CLIENT, 403, "This router does not serve this request.")
    SUBSCRIPTION_NOT_SUPPORTED = (Fault.CLIENT, 400, "This router does not serve this subscription.")
    SUBSCRIPTION_NEEDS_STREAM = (
        Fault.CLIENT,
        406,
        "A subscription is answered by a stream: over WebSocket (graphql-transport-ws), or where the Accept header has"
        " text/event-stream or multipart/mixed;subscriptionSpec=1.0.",
    )
    TOO_MANY_SUBSCRIPTIONS = (Fault.CLIENT, 429, "So many subscriptions at once are not served.")
    SUBSCRIPTION_TOO_SLOW = (Fault.CLIENT, 200, "The events come faster than they are read. Subscribe again.")
    SUBSCRIPTION_EXPIRED = (
        Fault.CLIENT,
        401,
        "The token that the subscription was made with has expired, or it has lasted as long as it may. Subscribe"
        " again.",
    )
    SUBSCRIPTION_DRAINED = (Fault.ROUTER, 503, "The router is about to stop. Subscribe again.")
    BAD_USER_INPUT = (Fault.CLIENT, 400, "The variables do not fit the operation.")

    OPERATION_TIMEOUT = (
        Fault.SUBGRAPH,
        504,
        "The subgraphs took longer than this router waits. What a mutation did up to then stands.",
    )

    # One fetch: the answer has the rest.
    SUBGRAPH_UNREACHABLE = (Fault.SUBGRAPH, 200, "The subgraph cannot be reached.")
    SUBGRAPH_TIMEOUT = (Fault.SUBGRAPH, 200, "The subgraph did not answer in time.")
    SUBGRAPH_HTTP_ERROR = (Fault.SUBGRAPH, 200, "The subgraph answered with an HTTP error.")
    SUBGRAPH_RESPONSE_MALFORMED = (Fault.SUBGRAPH, 200, "The subgraph's answer is not a GraphQL response.")
    SUBGRAPH_RESPONSE_TOO_LARGE = (Fault.SUBGRAPH, 200, "The subgraph's answer is larger than this router accepts.")
    SUBGRAPH_ERROR = (Fault.SUBGRAPH, 200, "The subgraph answered with an error.")
    TOO_MANY_REPRESENTATIONS = (
        Fault.CLIENT,
        200,
        "A list in the answer is too long to be looked up in another subgraph. Ask for fewer items.",
    )
    ANSWER_TOO_LARGE = (
        Fault.CLIENT,
        200,
        "The answer is larger than this router sends. Ask for fewer items, or for less of each."
        " What a mutation did stands.",
    )
    SUBGRAPH_ENTITY_MISSING = (Fault.SUBGRAPH, 200, "The subgraph returned fewer entities than it was asked for.")

    # Completing the answer against the API schema.
    NULL_IN_NON_NULL = (Fault.SUBGRAPH, 200, "A field that cannot be null is null.")
    VALUE_NOT_COERCIBLE = (Fault.SUBGRAPH, 200, "A value does not fit its type in the schema.")
    UNKNOWN_TYPENAME = (Fault.SUBGRAPH, 200, "An object's __typename is none of the types possible here.")

    # At start.
    CONFIG_INVALID = (Fault.OPERATOR, 500, "The configuration is not valid.")
    SUPERGRAPH_INVALID = (Fault.OPERATOR, 500, "The supergraph is not valid.")

    # Ours.
    PLANNING_FAILED = (Fault.ROUTER, 500, "The router found no way to answer this operation.")
    PLANNING_BUDGET_EXCEEDED = (Fault.CLIENT, 400, "Planning this operation takes more work than this router accepts.")
    INTERNAL_SERVER_ERROR = (Fault.ROUTER, 500, "The router failed. The request id names this failure in its log.")

    def __init__(self, fault: Fault, status: int, text: str) -> None:
        self.fault = fault
        self.status = status
        self.text = ClientText(text)

    def __str__(self) -> str:
        """The code as it stands in `extensions.code`."""
        return self.name


PathKey = str | int
"""One step of an error's path in the answer: a response key or a list index."""


@dataclass(frozen=True, slots=True)
class AnswerError:
    """One element of an answer's `errors` (GraphQL specification, section 7.1.2)."""

    code: ErrorCode
    """What went wrong."""
    message: ClientText
    """The same in words."""
    locations: tuple[tuple[int, int], ...] = ()
    """Line and column in the client's document, from 1."""
    path: tuple[PathKey, ...] | None = None
    """Where in the answer: response keys and list indexes from its root. None where it is about the whole request."""
    subgraph: str | None = None
    """The subgraph at fault, where one is."""
    own_code: str | None = None
    """The code that a subgraph gave its own error, or a plug-in its refusal: clients see it in place of ours."""
    own_extensions: Mapping[str, object] | None = field(default=None, compare=False)
    """What else a subgraph says of its own error: JSON values, which clients see beside ours."""

    def at(self, path: tuple[PathKey, ...]) -> "AnswerError":
        """The same error at another place of the answer."""
        return AnswerError(
            self.code, self.message, self.locations, path, self.subgraph, self.own_code, self.own_extensions
        )

    def to_json(self) -> dict[str, object]:
        """The element as JSON data: `message`, then `locations`, `path` and `extensions` where there are any."""
        element: dict[str, object] = {"message": self.message}
        if self.locations:
            element["locations"] = [{"line": line, "column": column} for line, column in self.locations]
        if self.path is not None:
            element["path"] = list(self.path)
        extensions = {**(self.own_extensions or {}), "code": self.own_code or self.code.name}
        if self.subgraph is not None:
            extensions["subgraph"] = self.subgraph
        element["extensions"] = extensions
        return element


class RouterError(Exception):
    """The root of the tree. `str()` is the client's text; `internal` adds a note that only tracebacks and logs show."""

    def __init__(
        self,
        code: ErrorCode,
        message: ClientText | None = None,
        *,
        internal: InternalText | None = None,
        locations: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.code = code
        self.message = code.text if message is None else message
        self.internal = internal
        self.locations = tuple(locations)
        super().__init__(self.message)
        if internal is not None:
            self.add_note(internal.text)

    @property
    def status(self) -> int:
        """The HTTP status of a response that says nothing else."""
        return self.code.status

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The HTTP headers of a response that only says this, names in lower case."""
        return ()

    def errors(self) -> tuple[AnswerError, ...]:
        """What an answer says about this failure; at least one element."""
        return (AnswerError(self.code, self.message, self.locations),)


class RequestError(RouterError):
    """The client's fault: nothing was fetched, and the same request will fail again."""

    def __init__(
        self,
        code: ErrorCode,
        message: ClientText | None = None,
        *,
        internal: InternalText | None = None,
        locations: Sequence[tuple[int, int]] = (),
        all_errors: Sequence[AnswerError] = (),
    ) -> None:
        super().__init__(code, message, internal=internal, locations=locations)
        self._all_errors = tuple(all_errors)

    def errors(self) -> tuple[AnswerError, ...]:
        """Every problem that was found at once, where there are several."""
        return self._all_errors or super().errors()


class Refused(RequestError):
    """A plug-in refuses a request or an operation, an answer, or a fetch; a fetch alone, where `on_fetch` raises it.

    raise Refused("UNAUTHENTICATED", "Log in first.", status=401, headers={"www-authenticate": "Bearer"})
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 403,
        headers: Mapping[str, str] | None = None,
        internal: InternalText | None = None,
    ) -> None:
        """`code` stands in `extensions.code` and `message` beside it, for clients to read; `status` and `headers` are
        the HTTP response's."""
        if not 400 <= status <= 599:
            raise ValueError(f"{status} is no HTTP status of a refusal")
        text = ClientText(message)
        error = AnswerError(ErrorCode.PLUGIN_REFUSED, text, own_code=code)
        super().__init__(ErrorCode.PLUGIN_REFUSED, text, internal=internal, all_errors=(error,))
        self.own_code = code
        self._status = status
        self._headers = tuple((name.lower(), value) for name, value in (headers or {}).items())

    @property
    def status(self) -> int:
        """The HTTP status that the plug-in chose."""
        return self._status

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The HTTP headers that the plug-in chose."""
        return self._headers


class Unauthorized(RequestError):
    """The operation selects fields that its caller may not see, where the router rejects such operations as a whole."""

    def __init__(self, names: Sequence[str], *, is_known: bool) -> None:
        """`names` are the fields, as `Type.field`; `is_known`: somebody is logged in, so that to log in is no help."""
        code = ErrorCode.UNAUTHORIZED_FIELD_OR_TYPE
        errors = tuple(AnswerError(code, ClientText(f"{name}: {code.text}")) for name in names)
        super().__init__(code, errors[0].message, all_errors=errors)
        self._is_known = is_known

    @property
    def status(self) -> int:
        """403, or 401 where nobody is logged in."""
        return 403 if self._is_known else 401

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """A 401 says by which scheme to log in (RFC 9110, 11.6.1)."""
        return () if self._is_known else (("www-authenticate", "Bearer"),)


class DocumentError(RequestError):
    """The document does not parse, is not valid against the API schema, or is beyond a limit."""


class OperationError(RequestError):
    """The document has no operation, not the named one, several without a name, or one that may not run here."""


class VariablesError(RequestError):
    """The variables do not fit the operation's variable definitions."""


class SubgraphError(RouterError):
    """One fetch failed; `subgraph` names where. The fields that it was to bring are null in the answer."""

    def __init__(
        self,
        code: ErrorCode,
        subgraph: str,
        message: ClientText | None = None,
        *,
        internal: InternalText | None = None,
        http_status: int | None = None,
        own_code: str | None = None,
    ) -> None:
        """`http_status` is the response's, where there was one; `own_code` a plug-in's that refused the fetch."""
        super().__init__(code, message, internal=internal)
        self.subgraph = subgraph
        self.http_status = http_status
        self.own_code = own_code

    def errors(self) -> tuple[AnswerError, ...]:
        """One element that names the subgraph; its path is the executor's to add."""
        return (AnswerError(self.code, self.message, subgraph=self.subgraph, own_code=self.own_code),)


class ConfigurationError(RouterError):
    """The operator's fault, found when files are read. Clients never see it, so its text may name files and lines."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake in a file that an operator wrote."""

    message: str
    """What is wrong."""
    suggestion: str = ""
    """What to write instead; empty where the message says it all."""
    file: str = ""
    """The file's name; empty where no file was read."""
    line: int | None = None
    """The line to change, from 1."""
    path: str = ""
    """The key's path, such as `cors.origins[0]`; of a key that is unknown or missing, that of the mapping it is in."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        text = ": ".join(part for part in (place, self.path, self.message) if part)
        return f"{text}; {self.suggestion}" if self.suggestion else text


class ConfigError(ConfigurationError):
    """supergraph.yaml or router.yaml cannot be used; the text says where and what to write instead."""

    def __init__(self, message: str = "", *, problems: Sequence[ConfigProblem] = ()) -> None:
        """Either a message, or every problem of a file: then the message has a line for each."""
        self.problems = tuple(problems) or (ConfigProblem(message),)
        super().__init__(ErrorCode.CONFIG_INVALID, ClientText("\n".join(map(str, self.problems))))

    def errors(self) -> tuple[AnswerError, ...]:
        """One element for each problem."""
        return tuple(AnswerError(self.code, ClientText(str(problem))) for problem in self.problems)


class SupergraphError(ConfigurationError):
    """The text is no supergraph that this router can load; the text says what is missing."""

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        """With `problems`, everything that is wrong, the text has a line for each, which begins with the message."""
        self.problems = tuple(problems) or (message,)
        lines = [f"{message}: {problem}" for problem in problems] if problems else [message]
        super().__init__(ErrorCode.SUPERGRAPH_INVALID, ClientText("\n".join(lines)))


class PlanningError(RouterError):
    """A valid operation for which there is no plan, or none within the budget."""


class InternalError(RouterError):
    """A bug in the router. Clients read a fixed text; the cause is in `internal` and in the log."""

    def __init__(self, internal: InternalText) -> None:
        super().__init__(ErrorCode.INTERNAL_SERVER_ERROR, internal=internal)
