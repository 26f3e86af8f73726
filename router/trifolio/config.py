"""The two files an operator writes, read into frozen values: `router.yaml` (optional) and `supergraph.yaml` (Rover's).

A file is read through its YAML nodes, so that every refusal names the line to fix. The dataclasses below are the
format: their fields are the keys, their types what a value may be, their defaults what holds where a key is left out.
Unknown and repeated keys are refused. In every text value `${NAME}` (or Rover's `${env.NAME}`) is replaced by the
environment's value, `${NAME:-default}` by the default where NAME is not set.
"""

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import yaml

from trifolio.errors import ConfigError
from trifolio.limits import Limits

# ---- router.yaml ----


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that only a subgraph may read. `repr` hides it, and in a file it is never written out."""

    value: str = field(repr=False)
    """The secret itself."""


@dataclass(frozen=True, slots=True)
class SubgraphConfig:
    """How the router reaches one subgraph."""

    url: str | None = None
    """Overrides the URL in the supergraph."""
    timeout_ms: int | None = None
    """Overrides `limits.fetch_timeout_ms`."""
    forward_headers: tuple[str, ...] | None = None
    """Overrides `headers.forward`."""
    secret: Secret | None = None
    """Sent as `x-router-secret`, by which the subgraph knows the router: `{env: NAME}` or `{file: PATH}`."""

    def __post_init__(self) -> None:
        if self.url is not None:
            _check_http_url(self.url)
        if self.timeout_ms is not None and self.timeout_ms < 1:
            raise ValueError("timeout_ms has to be at least 1")


@dataclass(frozen=True, slots=True)
class HeadersConfig:
    """Which of the client's headers go on to the subgraphs."""

    forward: tuple[str, ...] = ("authorization",)
    """Names, in any case."""


@dataclass(frozen=True, slots=True)
class CorsConfig:
    """Which web pages of other origins may call the router; none by default."""

    origins: tuple[str, ...] = ()
    """Exact origins such as `https://app.example.com`, or `*` alone for all."""
    credentials: bool = False
    """Whether browsers may send cookies along; not with the origin `*`."""
    allow_headers: tuple[str, ...] = (
        "authorization",
        "content-type",
        "apollo-require-preflight",
        "x-apollo-operation-name",
        "x-request-id",
    )
    """The request headers that such pages may send."""
    expose_headers: tuple[str, ...] = ("x-request-id",)
    """The response headers that such pages may read."""
    max_age_s: int = 7200
    """How long a browser may remember a preflight's answer: two hours is the most that Chromium takes."""

    def __post_init__(self) -> None:
        if "*" in self.origins and (len(self.origins) > 1 or self.credentials):
            raise ValueError("the origin * stands alone and without credentials; list the exact origins instead")


@dataclass(frozen=True, slots=True)
class OverrideConfig:
    """How progressive @override is decided, once per request."""

    labels: Mapping[str, bool] = field(default_factory=dict)
    """Labels that are on or off for every request. `percent(n)` labels need no entry; other labels are off without."""
    sticky_header: str = "authorization"
    """Requests with the same value of this header fall on the same side of a `percent(n)`; without it chance decides,
    by the request's id."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that `router.yaml` can say."""

    subgraphs: Mapping[str, SubgraphConfig] = field(default_factory=dict)
    """What is particular to a subgraph, by its name."""
    headers: HeadersConfig = HeadersConfig()
    """What of the client's headers the subgraphs get."""
    limits: Limits = field(default_factory=Limits)
    """What a request may cost."""
    cors: CorsConfig = CorsConfig()
    """Which web pages may call the router."""
    override: OverrideConfig = OverrideConfig()
    """How progressive @override is decided."""
    trusted_proxies: int = 0
    """How many proxies stand in front, each of which adds the address that it sees to X-Forwarded-For: the client's
    address is that many places from the header's end. With 0 it is the connection's, and the header is not believed."""
    introspection: bool = True
    """Whether `__schema` and `__type` are answered; `__typename` always is."""
    explorer: bool = True
    """Whether browsers get GraphiQL at the endpoint."""
    explorer_title: str = "Trifolio router"
    """What its page is called."""
    explorer_examples: Path | None = None
    """A folder of operations that open as its tabs, in the order of their file names: `20-orders.graphql`, and beside
    it `20-orders.json` with the variables, if there are any."""
    csrf_protection: bool = True
    """Whether requests that a browser sends without a preflight are refused."""
    access_log: bool = True
    """Whether every request is logged, one JSON object per line."""

    def forwarded_headers(self, subgraph: str) -> tuple[str, ...]:
        """The names of the client's headers that `subgraph` gets, in lower case."""
        own = self.subgraphs.get(subgraph, _NO_SUBGRAPH_CONFIG).forward_headers
        return tuple(name.lower() for name in (self.headers.forward if own is None else own))


_NO_SUBGRAPH_CONFIG: Final = SubgraphConfig()


def read_config(path: Path, *, environment: Mapping[str, str]) -> Config:
    """Read `router.yaml`; raises ConfigError with the file and line of what has to change."""
    return parse_config(_read(path), name=path.name, folder=path.parent, environment=environment)


def parse_config(text: str, *, name: str, folder: Path, environment: Mapping[str, str]) -> Config:
    """The same from text; `name` stands in errors, `folder` is where relative paths of secrets start."""
    return _Reader(name, folder, environment).document(text, Config)


# ---- supergraph.yaml ----


@dataclass(frozen=True, slots=True)
class SchemaSource:
    """Where a subgraph's SDL comes from: exactly one of the first four."""

    file: str | None = None
    """A path, relative to the file that names it."""
    subgraph_url: str | None = None
    """A running subgraph, asked for `_service { sdl }`."""
    sdl: str | None = None
    """The text itself."""
    python: str | None = None
    """`package.module:attribute`, a Strawberry, Ariadne or graphql-core schema. Trifolio's own, not known to Rover."""
    introspection_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers to send to `subgraph_url`."""

    def __post_init__(self) -> None:
        given = [each for each in (self.file, self.subgraph_url, self.sdl, self.python) if each is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of file, subgraph_url, sdl, python")
        if self.subgraph_url is not None:
            _check_http_url(self.subgraph_url)
        if self.python is not None and not re.fullmatch(r"[\w.]+:[\w.]+", self.python):
            raise ValueError("python is written as package.module:attribute")


@dataclass(frozen=True, slots=True)
class SubgraphSource:
    """One subgraph to compose."""

    schema: SchemaSource
    routing_url: str | None = None
    """Where the router will reach it; may be left out where `schema.subgraph_url` says it."""

    def __post_init__(self) -> None:
        if self.routing_url is None and self.schema.subgraph_url is None:
            raise ValueError("routing_url is missing; only with schema.subgraph_url it can be left out")

    @property
    def url(self) -> str:
        """The URL that the supergraph gets."""
        return self.routing_url or self.schema.subgraph_url or ""


@dataclass(frozen=True, slots=True)
class CompositionConfig:
    """Everything that `supergraph.yaml` can say, in Rover's format."""

    subgraphs: Mapping[str, SubgraphSource]
    federation_version: str | int | None = None
    """`2`, or `=2.x.y`; composition is the same for all of federation 2."""

    def __post_init__(self) -> None:
        if not self.subgraphs:
            raise ValueError("subgraphs is empty; name at least one")
        if not re.fullmatch(r"=?2(\.\d+){0,2}", str(self.federation_version or 2)):
            raise ValueError('federation_version has to be 2 or "=2.x.y"; federation 1 is not composed')


def read_composition_config(path: Path, *, environment: Mapping[str, str]) -> CompositionConfig:
    """Read `supergraph.yaml`; raises ConfigError with the file and line of what has to change."""
    return _Reader(path.name, path.parent, environment).document(_read(path), CompositionConfig)


# ---- reading ----

_EXPANSION: Final = re.compile(r"\$\{(?:env\.)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_Dataclass = TypeVar("_Dataclass")
_ELSEWHERE: Final = {"graphref": "schemas out of a registry are not read; fetch the SDL and name it as file"}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _check_http_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https URL")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


class _Reader:
    """Turns YAML nodes into dataclasses; a class only to carry the file's name and surroundings into every error."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.folder = folder
        self.environment = environment

    def document(self, text: str, cls: type[_Dataclass]) -> _Dataclass:
        """Read a whole file; an empty one is an empty mapping."""
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(f"{self.name}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
        self.loader = loader
        if node is None:
            node = yaml.MappingNode("tag:yaml.org,2002:map", [], yaml.Mark(self.name, 0, 0, 0, "", 0))
        value: _Dataclass = self.value(node, cls, "")
        return value

    def refuse(self, node: yaml.Node, path: str, problem: str) -> ConfigError:
        """The error for something at `node`."""
        place = f"{path}: " if path else ""
        return ConfigError(f"{self.name}:{node.start_mark.line + 1}: {place}{problem}")

    def value(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """The node's value as the type `hint`."""
        origin = get_origin(hint)
        if origin in {Union, types.UnionType}:
            return self.union(node, hint, path)
        if hint is Secret:
            return self.secret(node, path)
        if hint is Path:
            return self.folder / str(self.scalar(node, str, path))
        if isinstance(hint, type) and is_dataclass(hint):
            return self.dataclass(node, hint, path)
        if origin is tuple:
            return self.sequence(node, get_args(hint)[0], path)
        if origin is not None:
            return self.mapping(node, get_args(hint)[1], path)
        return self.scalar(node, hint, path)

    def union(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """`X | None` and unions of scalars: null is what leaving the key out is."""
        members = [member for member in get_args(hint) if member is not type(None)]
        if node.tag.endswith(":null") and len(members) < len(get_args(hint)):
            return None
        if len(members) > 1:
            given = type(self.plain(node))
            return self.scalar(node, given if given in members else members[0], path)
        return self.value(node, members[0], path)

    def plain(self, node: yaml.Node) -> object:
        value: object = self.loader.construct_object(node, deep=True)
        return value

    def scalar(self, node: yaml.Node, kind: type, path: str) -> object:
        """A text, integer or boolean; numbers and booleans may come out of the environment as text."""
        expanded = self.expand(node, path) if isinstance(node, yaml.ScalarNode) else None
        if expanded is None:
            raise self.refuse(node, path, f"has to be {_KINDS[kind]}")
        if kind is str and node.tag.endswith((":str", ":float", ":int")):
            return expanded
        if expanded != node.value:
            tag = self.loader.resolve(yaml.ScalarNode, expanded, (True, False))  # type: ignore[no-untyped-call]  # stubs
            node = yaml.ScalarNode(tag, expanded, node.start_mark)
        value = self.plain(node)
        if type(value) is not kind:
            raise self.refuse(node, path, f"has to be {_KINDS[kind]}, not {value!r}")
        return value

    def expand(self, node: yaml.ScalarNode, path: str) -> str:
        """The scalar's text with the environment's values in it."""

        def replacement(match: re.Match[str]) -> str:
            name, default = match.groups()
            value = self.environment.get(name, default)
            if value is None:
                raise self.refuse(node, path, f"the environment has no {name}; set it, or write ${{{name}:-default}}")
            return value

        return _EXPANSION.sub(replacement, node.value)

    def sequence(self, node: yaml.Node, hint: Any, path: str) -> tuple[object, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(node, path, "has to be a list")
        return tuple(self.value(each, hint, f"{path}[{index}]") for index, each in enumerate(node.value))

    def items(self, node: yaml.Node, path: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """A mapping's key and value nodes by key; merge keys (`<<`) are resolved, repeated keys refused."""
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(node, path, "has to be a mapping of keys to values")
        self.loader.flatten_mapping(node)
        items: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in items and items[key][0].start_mark.line >= node.start_mark.line:
                raise self.refuse(key_node, path, f"{key!r} stands here twice")
            items[key] = (key_node, value_node)
        return items

    def mapping(self, node: yaml.Node, hint: Any, path: str) -> dict[str, object]:
        return {key: self.value(value, hint, _join(path, key)) for key, (_, value) in self.items(node, path).items()}

    def dataclass(self, node: yaml.Node, cls: type, path: str) -> object:
        hints = _hints(cls)
        values = {}
        for key, (key_node, value_node) in self.items(node, path).items():
            if key not in hints:
                raise self.refuse(key_node, path, _unknown_key(key, sorted(hints)))
            values[key] = self.value(value_node, hints[key], _join(path, key))
        missing = [each.name for each in fields(cls) if each.name not in values and _is_required(each)]
        if missing:
            raise self.refuse(node, path, f"{missing[0]} is missing")
        try:
            return cls(**values)
        except ValueError as error:
            raise self.refuse(node, path, str(error)) from error

    def secret(self, node: yaml.Node, path: str) -> Secret:
        items = self.items(node, path) if isinstance(node, yaml.MappingNode) else {}
        if len(items) != 1 or not set(items) <= {"env", "file"}:
            raise self.refuse(node, path, "is written as {env: NAME} or {file: PATH}, never as the secret itself")
        [(source, (_, value_node))] = items.items()
        where = str(self.scalar(value_node, str, _join(path, source)))
        try:
            text = _read(self.folder / where) if source == "file" else self.environment[where]
        except KeyError:
            raise self.refuse(value_node, path, f"the environment has no {where}") from None
        except ConfigError as error:
            raise self.refuse(value_node, path, error.message) from error
        if not text.strip():
            raise self.refuse(value_node, path, f"the secret in {where} is empty")
        return Secret(text.strip())


_KINDS: Final[Mapping[type, str]] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
}


def _is_required(each: Any) -> bool:
    return each.default is each.default_factory  # both are MISSING


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unknown_key(key: str, known: list[str]) -> str:
    if key in _ELSEWHERE:
        return f"{key!r}: {_ELSEWHERE[key]}"
    close = get_close_matches(key, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"
    return f"unknown key {key!r}{hint}"
