"""What router.yaml and supergraph.yaml can say, as frozen values.

The dataclasses are the format, for the reader and for the JSON Schema alike: a field is a key, its type what a value
may be, its text what editors show. A value made in Python follows the same forms, or is a ValueError.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

from trifolio.config.forms import (
    AllowedHeader,
    Between,
    Distinct,
    ExposedHeader,
    FederationVersion,
    ForwardedHeader,
    HeaderName,
    HttpUrl,
    Label,
    Mistake,
    OneOf,
    Origin,
    PluginReference,
    SchemaReference,
    mistakes_in,
)
from trifolio.limits import Limits

OTHER_KEYS: Final = {"read": "other keys"}
"""Metadata of the field that takes all keys of a mapping that are no fields, as plain YAML."""
PLACE: Final = {"read": "place"}
"""Metadata of the field that says where the mapping stands, such as `router.yaml:12`."""

PROXIES_MAX: Final = 32
"""32 proxies in a row: more are a mistake, and a request that passed them would have no room for other headers."""
PORT_MAX: Final = 65_535
"""The largest number that TCP has for a port."""
CORS_MAX_AGE_S: Final = 86_400
"""24 hours: what Firefox takes for a preflight's answer, and no browser takes more."""


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields, with the forms of their values."""
    return get_type_hints(cls, include_extras=True)


class Checked:
    """A value of the settings: its fields have the forms that their types name, and it follows its own rules."""

    __slots__ = ()

    @staticmethod
    def rules(values: Mapping[str, Any]) -> Iterator[Mistake]:
        """What is wrong between the fields; one that could not be read has a value that is equal to nothing."""
        return iter(())

    def __post_init__(self) -> None:
        values = {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]  # a dataclass
        cls: type = type(self)
        for name, hint in hints_of(cls).items():
            for mistake in mistakes_in(hint, values[name]):
                raise ValueError(str(Mistake(mistake.message, mistake.suggestion, (name, *mistake.key))))
        for mistake in self.rules(values):
            raise ValueError(str(mistake))


# ---- router.yaml ----


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that only a subgraph may read. `repr` hides it, and in a file it is never written out."""

    value: str = field(repr=False)
    """The secret itself."""


@dataclass(frozen=True, slots=True)
class UpstreamConfig(Checked):
    """How one subgraph over the network is subscribed to."""

    protocol: Annotated[str, OneOf(("websocket", "sse", "multipart"))]
    """`websocket`: graphql-transport-ws. `sse`: graphql-sse, distinct connections. `multipart`: Apollo's."""
    url: HttpUrl | None = None
    """Where, if not at the subgraph's URL; for a WebSocket as well with http or https, which become ws and wss."""


@dataclass(frozen=True, slots=True)
class SubgraphConfig(Checked):
    """How the router reaches one subgraph."""

    url: HttpUrl | None = None
    """Overrides the URL in the supergraph."""
    timeout_ms: Annotated[int, Between(1)] | None = None
    """Overrides `limits.fetch_timeout_ms`."""
    forward_headers: Annotated[tuple[ForwardedHeader, ...], Distinct()] | None = None
    """Overrides `headers.forward`."""
    share_fetches: bool | None = None
    """Overrides `sharing.fetches`."""
    subscriptions: UpstreamConfig | None = None
    """How it is subscribed to; without, its subscriptions are refused."""
    secret: Secret | None = None
    """Sent as `x-router-secret`, by which the subgraph knows the router: `{env: NAME}` or `{file: PATH}`."""


@dataclass(frozen=True, slots=True)
class HeadersConfig(Checked):
    """Which of the client's headers go on to the subgraphs."""

    forward: Annotated[tuple[ForwardedHeader, ...], Distinct()] = ("authorization",)
    """Their names, in any case, each written out: there are no patterns."""


@dataclass(frozen=True, slots=True)
class SharingConfig(Checked):
    """What is asked several times at the same moment and answered once; mutations never are, and nothing is kept."""

    queries: bool = False
    """Whether a client whose query is the same as one that is being answered gets the same answer: text, variables and
    every header that goes on to a subgraph have to be equal. What plug-ins, access rules or a subgraph within the
    process decide about is not shared."""
    fetches: bool = False
    """Whether a request to a subgraph that is the same as one under way, byte for byte, gets the same response."""
    subscriptions: bool = False
    """Whether subscriptions that are the same at a subgraph, in text, variables and every header that goes on to it,
    are one there. Who joins gets the events from then on, and not those that a subgraph sends at the beginning."""


@dataclass(frozen=True, slots=True)
class SubscriptionsConfig(Checked):
    """How clients get the events of subscriptions."""

    when_full: Annotated[str, OneOf(("end", "conflate", "drop"))] = "end"
    """What becomes of events that a client does not read: `end`: its stream ends, with SUBSCRIPTION_TOO_SLOW.
    `conflate`: the newest takes the place of all that wait. `drop`: the newest is left out. After the last two, the
    next event says how many are missing."""
    init_headers: Annotated[tuple[ForwardedHeader, ...], Distinct()] = ("authorization",)
    """What of a WebSocket's `connection_init` payload counts as headers of all its operations: keys in any case, as
    pages cannot set headers of a WebSocket's handshake."""


@dataclass(frozen=True, slots=True)
class CorsConfig(Checked):
    """Which web pages of other origins may call the router; none by default."""

    origins: Annotated[tuple[Origin, ...], Distinct()] = ()
    """Exact origins such as `https://app.example.com`, as a browser sends them: no path, no pattern, no port that the
    scheme has anyhow. Or `*` alone for all."""
    credentials: bool = False
    """Whether browsers may send cookies along; not with the origin `*`."""
    allow_headers: Annotated[tuple[AllowedHeader, ...], Distinct()] = (
        "authorization",
        "content-type",
        "apollo-require-preflight",
        "x-apollo-operation-name",
        "x-request-id",
    )
    """The headers that pages may send; `*` without credentials stands for all but `authorization`."""
    expose_headers: Annotated[tuple[ExposedHeader, ...], Distinct()] = ("x-request-id",)
    """The headers of an answer that pages may read; `*` without credentials stands for all."""
    max_age_s: Annotated[int, Between(0, CORS_MAX_AGE_S)] = 7200
    """How long a browser may remember a preflight's answer: two hours is the most that Chromium takes."""

    @staticmethod
    def rules(values: Mapping[str, Any]) -> Iterator[Mistake]:
        """The star stands alone, and with credentials it is a name like any other, which nobody has."""
        origins, credentials = values["origins"], values["credentials"] is True
        if isinstance(origins, tuple) and "*" in origins and (len(origins) > 1 or credentials):
            yield Mistake(
                "the origin * stands alone and without credentials", "list the exact origins instead", ("origins",)
            )
        for key in ("allow_headers", "expose_headers"):
            if credentials and isinstance(values[key], tuple) and "*" in values[key]:
                yield Mistake("with credentials * is no wildcard", "list the headers instead", (key,))


@dataclass(frozen=True, slots=True)
class OverrideConfig(Checked):
    """How progressive @override is decided, once per request."""

    labels: Mapping[Label, bool] = field(default_factory=dict)
    """Labels that are on or off for every request; off without an entry. `percent(n)` is decided by its percentage."""
    sticky_header: HeaderName = "authorization"
    """Requests with the same value of this header fall on the same side of a `percent(n)`; without it chance decides,
    by the request's id."""


@dataclass(frozen=True, slots=True)
class AuthorizationConfig(Checked):
    """What becomes of operations that select fields which the supergraph's access rules shut for their caller."""

    mode: Annotated[str, OneOf(("null_fields", "reject"))] = "null_fields"
    """`null_fields`: such a field is null with an error, the rest is answered. `reject`: nothing is, and the status is
    401, or 403 for who is logged in."""


@dataclass(frozen=True, slots=True)
class MetricsConfig(Checked):
    """Where Prometheus finds the counters: nowhere by default."""

    port: Annotated[int, Between(1, PORT_MAX)] | None = None
    """A port of its own for `serve`, with nothing but `/metrics`. Of several workers each takes the first that is free
    of as many ports as there are workers, from this one on."""
    host: str = "127.0.0.1"
    """The address to listen on there: this machine alone."""
    public: bool = False
    """Whether `/metrics` is on the endpoint's own port, too, for whoever asks."""


@dataclass(frozen=True, slots=True)
class PluginConfig(Checked):
    """One plug-in: a class, and the options that it is made with."""

    python: PluginReference
    """The class, as `package.module:Name`."""
    options: Mapping[str, object] = field(default_factory=dict, metadata=OTHER_KEYS)
    """All keys but `python`, as plain YAML: they are the class's to check."""
    place: str = field(default="", compare=False, metadata=PLACE)
    """Where it stands, such as `router.yaml:12`; empty where no file was read."""


@dataclass(frozen=True, slots=True)
class Config(Checked):
    """Everything that `router.yaml` can say."""

    subgraphs: Mapping[str, SubgraphConfig] = field(default_factory=dict)
    """How the router reaches each subgraph, by the name that it has in the supergraph."""
    headers: HeadersConfig = field(default_factory=HeadersConfig)
    """Which of the client's headers go on to the subgraphs."""
    sharing: SharingConfig = field(default_factory=SharingConfig)
    """What is asked several times at the same moment and answered once."""
    subscriptions: SubscriptionsConfig = field(default_factory=SubscriptionsConfig)
    """How clients get the events of subscriptions."""
    limits: Limits = field(default_factory=Limits)
    """What one request, one document and one fetch may cost."""
    cors: CorsConfig = field(default_factory=CorsConfig)
    """Which web pages of other origins may call the router."""
    override: OverrideConfig = field(default_factory=OverrideConfig)
    """How progressive @override is decided."""
    authorization: AuthorizationConfig = field(default_factory=AuthorizationConfig)
    """What becomes of operations that select what their caller may not see."""
    trusted_proxies: Annotated[int, Between(0, PROXIES_MAX)] = 0
    """How many proxies stand in front, each of which adds the address that it sees to X-Forwarded-For: the client's
    address is that many places from the header's end. With 0 it is the connection's, and the header is not believed."""
    introspection: bool = False
    """Whether `__schema` and `__type` are answered; `__typename` always is. Under `dev` they are, unless this says
    no."""
    explorer: bool = False
    """Whether browsers get GraphiQL at the endpoint; it reads the schema by introspection. Under `dev` they do, unless
    this says no."""
    explorer_title: str = "Trifolio router"
    """What its page is called."""
    explorer_examples: Path | None = None
    """A folder of operations that open as its tabs, in the order of their file names: `20-orders.graphql`, and beside
    it `20-orders.json` with the variables, if there are any."""
    traces: bool = False
    """Whether a request with `trifolio-trace: 1` is told its plan and fetches in `extensions.trace`, with what they ask
    of subgraphs: keys and required fields, too, which the API may not have. Under `dev` it is, unless this says no."""
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    """Where Prometheus finds the counters."""
    csrf_protection: bool = True
    """Whether requests that a browser sends without a preflight are refused."""
    access_log: bool = True
    """Whether every request is logged, one JSON object per line."""
    plugins: tuple[PluginConfig, ...] = ()
    """Plug-ins, in the order in which they are called."""

    def shares_fetches(self, subgraph: str) -> bool:
        """Whether equal requests to `subgraph` that are under way at the same time share a response."""
        own = self.subgraphs[subgraph].share_fetches if subgraph in self.subgraphs else None
        return self.sharing.fetches if own is None else own

    def forwarded_headers(self, subgraph: str) -> tuple[str, ...]:
        """The names of the client's headers that `subgraph` gets, in lower case."""
        own = self.subgraphs[subgraph].forward_headers if subgraph in self.subgraphs else None
        return tuple(name.lower() for name in (self.headers.forward if own is None else own))


# ---- supergraph.yaml ----


@dataclass(frozen=True, slots=True)
class SchemaSource(Checked):
    """Where a subgraph's SDL comes from: exactly one of the first four."""

    file: str | None = None
    """A path, relative to the file that names it."""
    subgraph_url: HttpUrl | None = None
    """A running subgraph, asked for `_service { sdl }`."""
    sdl: str | None = None
    """The text itself."""
    python: SchemaReference | None = None
    """`package.module:attribute`, a Strawberry, Ariadne or graphql-core schema. Trifolio's own, not known to Rover."""
    introspection_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers to send to `subgraph_url`."""

    @staticmethod
    def rules(values: Mapping[str, Any]) -> Iterator[Mistake]:
        """There is one source."""
        if len([name for name in ("file", "subgraph_url", "sdl", "python") if values[name] is not None]) != 1:
            yield Mistake("give exactly one of file, subgraph_url, sdl, python")


@dataclass(frozen=True, slots=True)
class SubgraphSource(Checked):
    """One subgraph to compose."""

    schema: SchemaSource
    """Where its SDL comes from."""
    routing_url: str | None = None
    """Where the router will reach it; may be left out where `schema.subgraph_url` says it, or where `serve` and `dev`
    execute what `schema.python` names."""

    @staticmethod
    def rules(values: Mapping[str, Any]) -> Iterator[Mistake]:
        """There is a URL, or a schema that can be executed without one."""
        schema = values["schema"]
        sources = (schema.subgraph_url, schema.python) if isinstance(schema, SchemaSource) else ("unknown",)
        if values["routing_url"] is None and not any(sources):
            cure = "only with schema.subgraph_url or schema.python it can be left out"
            yield Mistake("routing_url is missing", cure)

    @property
    def url(self) -> str:
        """The URL that the supergraph gets; may be empty."""
        return self.routing_url or self.schema.subgraph_url or ""


@dataclass(frozen=True, slots=True)
class CompositionConfig(Checked):
    """Everything that `supergraph.yaml` can say, in Rover's format."""

    subgraphs: Mapping[str, SubgraphSource]
    """The subgraphs by name."""
    federation_version: FederationVersion | None = None
    """`2`, or `=2.x.y`; composition is the same for all of federation 2."""

    @staticmethod
    def rules(values: Mapping[str, Any]) -> Iterator[Mistake]:
        """There is something to compose."""
        if values["subgraphs"] == {}:
            yield Mistake("subgraphs is empty", "name at least one")
