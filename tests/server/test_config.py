"""router.yaml and supergraph.yaml: what is read, and which line a refusal names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from trifolio.config import (
    Config,
    CorsConfig,
    HeadersConfig,
    OverrideConfig,
    PluginConfig,
    SubgraphConfig,
    parse_config,
    read_composition_config,
)
from trifolio.config.json_schema import json_schema
from trifolio.config.reader import parse as parse_as
from trifolio.errors import ConfigError
from trifolio.limits import Limits

ENVIRONMENT = {"USERS_URL": "http://users:4001/graphql", "USERS_SECRET": "s3cret", "TIMEOUT": "250", "EMPTY": ""}

EVERYTHING = """\
subgraphs:
  users:
    url: ${USERS_URL}
    timeout_ms: ${TIMEOUT}
    secret: {env: USERS_SECRET}
  wallet:
    url: "${WALLET_URL:-http://wallet:4002/graphql}"
    forward_headers: [Authorization, X-Request-Id]
    secret: {file: wallet-secret}
headers:
  forward: [authorization, accept-language]
limits:
  body_bytes_max: 1000
cors:
  origins: ["https://app.example.com"]
  credentials: true
override:
  labels: {new-checkout: true}
introspection: true
explorer: true
csrf_protection: false
access_log: false
"""


def parse(text: str, folder: Path = Path()) -> Config:
    return parse_config(text, name="router.yaml", folder=folder, environment=ENVIRONMENT)


def test_every_key_is_read(tmp_path: Path) -> None:
    """Every key of router.yaml reaches the configuration, with the environment's values and secrets in place."""
    (tmp_path / "wallet-secret").write_text("from-a-file\n")
    config = parse(EVERYTHING, tmp_path)
    users, wallet = config.subgraphs["users"], config.subgraphs["wallet"]
    assert (users.url, users.timeout_ms) == ("http://users:4001/graphql", 250)
    assert users.secret is not None
    assert users.secret.value == "s3cret"
    assert wallet.url == "http://wallet:4002/graphql"
    assert wallet.secret is not None
    assert wallet.secret.value == "from-a-file"
    assert config.forwarded_headers("users") == ("authorization", "accept-language")
    assert config.forwarded_headers("wallet") == ("authorization", "x-request-id")
    assert config.limits == Limits(body_bytes_max=1000)
    assert config.cors.origins == ("https://app.example.com",)
    assert config.cors.credentials
    assert config.override.labels == {"new-checkout": True}
    switches = [config.introspection, config.explorer, config.csrf_protection, config.access_log]
    assert switches == [True, True, False, False]


def test_an_empty_file_means_the_defaults() -> None:
    """Every key may be left out, and so may all of them; then Authorization is what is forwarded."""
    assert parse("") == Config()
    assert not Config().introspection
    assert not Config().explorer
    assert Config().forwarded_headers("any") == ("authorization",)


def test_a_secret_is_never_printed() -> None:
    """The configuration's repr, which could get into a log, hides secrets."""
    config = parse("subgraphs: {users: {secret: {env: USERS_SECRET}}}")
    assert "s3cret" not in repr(config)


REFUSED = {
    "unknown key": ("limits:\n  body_bytes: 1\n", 2, "did you mean 'body_bytes_max'"),
    "unknown key at the top": ("plug_ins: []\n", 1, "unknown key 'plug_ins'"),
    "repeated key": ("introspection: true\nintrospection: false\n", 2, "stands here twice"),
    "wrong type": ("introspection: 5\n", 1, "has to be true or false"),
    "text for a number": ("limits:\n  body_bytes_max: many\n", 2, "has to be a whole number"),
    "list for a mapping": ("limits: [1]\n", 1, "has to be a mapping"),
    "mapping for a text": ("override: {sticky_header: {a: b}}\n", 1, "has to be a text"),
    "text for a list": ("headers: {forward: authorization}\n", 1, "has to be a list"),
    "limit of zero": ("access_log: true\nlimits:\n  body_bytes_max: 0\n", 3, "at least 1"),
    "no URL": ("subgraphs:\n  users:\n    url: users:4001\n", 3, "no http or https URL"),
    "unset variable": ("subgraphs:\n  users:\n    url: ${NOWHERE}\n", 3, "the environment has no NOWHERE"),
    "secret written out": ("subgraphs: {users: {secret: hunter2}}\n", 1, "never as the secret itself"),
    "secret from nowhere": ("subgraphs: {users: {secret: {env: NOWHERE}}}\n", 1, "the environment has no NOWHERE"),
    "empty secret": ("subgraphs: {users: {secret: {env: EMPTY}}}\n", 1, "is empty"),
    "missing secret file": ("subgraphs: {users: {secret: {file: nowhere}}}\n", 1, "there is no such file"),
    "credentials for everybody": ("cors:\n  origins: ['*']\n  credentials: true\n", 2, "without credentials"),
    "not YAML": ("a: [\n", 2, "not YAML"),
}


@pytest.mark.parametrize(("text", "line", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_the_line_to_fix(text: str, line: int, problem: str) -> None:
    """What cannot be used is refused with the file, the line and what is wrong."""
    with pytest.raises(ConfigError) as refusal:
        parse(text)
    assert refusal.value.message.startswith(f"router.yaml:{line}: ")
    assert problem in refusal.value.message
    assert "hunter2" not in refusal.value.message


SEVERAL = """\
subgraphs:
  users:
    url: users:4001
    secret: {env: NOWHERE}
  wallet:
    timeout_ms: ${NOWHERE}
headers:
  forward: ["x-*", accept-language, te]
limits:
  body_bytes: 1
  url_bytes_max: 0
override:
  labels: {"percent(5)": true, 5: true}
introspection: 5
"""


def test_a_secret_that_no_header_can_carry_is_refused(tmp_path: Path) -> None:
    """A secret's file has one line; what it holds is not shown."""
    (tmp_path / "secret").write_text("hunter2\nhunter3\n")
    with pytest.raises(ConfigError, match="several lines") as refusal:
        parse("subgraphs: {users: {secret: {file: secret}}}\n", tmp_path)
    assert "hunter" not in refusal.value.message


def test_every_mistake_is_told_at_once() -> None:
    """A file with several mistakes is refused with each of them, in the order of their lines."""
    with pytest.raises(ConfigError) as refusal:
        parse(SEVERAL)
    places = [(problem.line, problem.path) for problem in refusal.value.problems]
    assert places == [
        (3, "subgraphs.users.url"),
        (4, "subgraphs.users.secret"),
        (6, "subgraphs.wallet.timeout_ms"),
        (8, "headers.forward[0]"),
        (8, "headers.forward[2]"),
        (10, "limits"),
        (11, "limits.url_bytes_max"),
        (13, "override.labels"),
        (13, "override.labels"),
        (14, "introspection"),
    ]
    assert [error.message for error in refusal.value.errors()] == refusal.value.message.splitlines()


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "introspection: !!python/name:os\n", "a: \0\n", "? [a]\n: b\n"])
def test_yaml_of_any_kind_is_read_or_refused(text: str) -> None:
    """What YAML can say and settings cannot is refused like any other mistake."""
    with pytest.raises(ConfigError):
        parse(text)


@dataclass(frozen=True, slots=True)
class Plugins:
    """A file with plug-ins in it."""

    plugins: tuple[PluginConfig, ...] = ()


PLUGINS = """\
plugins:
- python: shop.plugins:Audit
- python: shop.plugins:Limit.PerUser
  requests_max: ${MAX:-5}
  key: "${MAX:-5}"
  secret: {env: NOWHERE}
  options: [1, {deep: "${NAME}"}]
  place: here
"""


def test_a_plugin_takes_any_options() -> None:
    """All keys of a plug-in but `python` are its options: plain YAML, with the environment's values in texts."""
    reading = parse_as(PLUGINS, Plugins, name="router.yaml", folder=Path(), environment={"NAME": "n"})
    assert reading.unwrap().plugins == (
        PluginConfig("shop.plugins:Audit"),
        PluginConfig(
            "shop.plugins:Limit.PerUser",
            {
                "requests_max": 5,
                "key": "5",
                "secret": {"env": "NOWHERE"},
                "options": [1, {"deep": "n"}],
                "place": "here",
            },
        ),
    )
    assert [each.place for each in reading.unwrap().plugins] == ["router.yaml:2", "router.yaml:3"]


def test_the_schema_leaves_a_plugins_options_free() -> None:
    """Editors know `python` of a plug-in, and take what else stands there."""
    validator = Draft202012Validator(json_schema(Plugins, title="plug-ins"))
    assert list(validator.iter_errors(yaml.safe_load(PLUGINS))) == []
    assert list(validator.iter_errors({"plugins": [{"python": "shop.plugins"}]}))
    assert list(validator.iter_errors({"plugins": [{"key": 1}]}))


WRONG_PLUGINS = {
    "no class": ("plugins:\n- python: shop.plugins\n", 2, "package.module:Name"),
    "a path": ("plugins:\n- python: shop/plugins.py:Audit\n", 2, "package.module:Name"),
    "nothing": ("plugins:\n- a: 1\n", 2, "python is missing"),
    "no mapping": ("plugins: [shop.plugins:Audit]\n", 1, "has to be a mapping"),
    "an option twice": ("plugins:\n- python: a:B\n  c: {d: 1,\n      d: 2}\n", 4, "stands here twice"),
    "an unset variable": ("plugins:\n- python: a:B\n  c: ['${NOWHERE}']\n", 3, "the environment has no NOWHERE"),
    "no YAML value": ("plugins:\n- python: a:B\n  c: !!int x\n", 3, "cannot be read"),
}


@pytest.mark.parametrize(("text", "line", "problem"), WRONG_PLUGINS.values(), ids=WRONG_PLUGINS)
def test_a_plugin_that_cannot_be_read_is_refused(text: str, line: int, problem: str) -> None:
    """A malformed reference, or an option that YAML cannot say, is refused with its line."""
    reading = parse_as(text, Plugins, name="router.yaml", folder=Path(), environment={})
    [told] = map(str, reading.problems)
    assert told.startswith(f"router.yaml:{line}: ")
    assert problem in told


NO_VALUES = {
    "a header": lambda: HeadersConfig(forward=("x y",)),
    "an origin": lambda: CorsConfig(origins=("https://a/",)),
    "a label": lambda: OverrideConfig(labels={"percent(5)": True}),
    "a time-out": lambda: SubgraphConfig(timeout_ms=0),
    "a reference": lambda: PluginConfig("nothing"),
    "a combination": lambda: CorsConfig(origins=("*",), credentials=True),
}


@pytest.mark.parametrize("make", NO_VALUES.values(), ids=NO_VALUES)
def test_values_made_in_python_have_the_same_forms(make: Callable[[], object]) -> None:
    """What a file may not say is a ValueError in Python."""
    with pytest.raises(ValueError, match=": "):
        make()


ROVER = """\
federation_version: =2.9.3
subgraphs:
  films:
    routing_url: https://films.example.com/graphql
    schema:
      file: ./films.graphql
  people:
    schema:
      subgraph_url: ${env.PEOPLE_URL}
      introspection_headers:
        Authorization: Bearer ${env.TOKEN}
"""


def test_rovers_format_is_read(tmp_path: Path) -> None:
    """A supergraph.yaml that Rover takes is taken: files, running subgraphs, headers, ${env.NAME}."""
    path = tmp_path / "supergraph.yaml"
    path.write_text(ROVER)
    config = read_composition_config(path, environment={"PEOPLE_URL": "http://people:1/graphql", "TOKEN": "t"})
    assert list(config.subgraphs) == ["films", "people"]
    assert config.subgraphs["films"].schema.file == "./films.graphql"
    assert config.subgraphs["films"].url == "https://films.example.com/graphql"
    assert config.subgraphs["people"].url == "http://people:1/graphql"
    assert config.subgraphs["people"].schema.introspection_headers == {"Authorization": "Bearer t"}


NOT_COMPOSED = {
    "no subgraphs": ("federation_version: 2\n", 1, "subgraphs is missing"),
    "no subgraph": ("subgraphs: {}\n", 1, "name at least one"),
    "federation 1": (
        "federation_version: 1\nsubgraphs: {a: {schema: {subgraph_url: 'http://a'}}}\n",
        1,
        "federation 1",
    ),
    "no schema": ("subgraphs:\n  a:\n    routing_url: http://a\n", 3, "schema is missing"),
    "no URL": ("subgraphs:\n  a:\n    schema: {file: a.graphql}\n", 3, "routing_url is missing"),
    "two sources": ("subgraphs:\n  a:\n    schema: {file: a, sdl: b}\n", 3, "exactly one of"),
    "a registry": ("subgraphs:\n  a:\n    schema:\n      graphref: g@v\n", 4, "registry"),
    "no attribute": ("subgraphs:\n  a:\n    schema: {python: module}\n", 3, "package.module:attribute"),
}


@pytest.mark.parametrize(("text", "line", "problem"), NOT_COMPOSED.values(), ids=NOT_COMPOSED)
def test_a_composition_that_cannot_be_is_refused(tmp_path: Path, text: str, line: int, problem: str) -> None:
    """supergraph.yaml is refused with the line and what is wrong."""
    path = tmp_path / "supergraph.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_composition_config(path, environment={})
    assert refusal.value.message.startswith(f"supergraph.yaml:{line}: ")
    assert problem in refusal.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing file is a refusal that names it."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        read_composition_config(tmp_path / "nowhere.yaml", environment={})
