"""`trifolio config`: what it says of settings and of how they fit a supergraph, and the schema it prints."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from brokerage.development import ROOT, Development
from tests.server.conftest import SUPERGRAPH
from tests.server.refused_settings import ACCEPTED, BY_FORM, REFUSED, Case
from tests.server.subgraphs import PEOPLE_SDL, PLACES_SDL
from trifolio.command import main
from trifolio.config import CompositionConfig, Config, parse_config, read_config
from trifolio.config.json_schema import json_schema
from trifolio.errors import ConfigError
from trifolio.executor.http import JSON_HEADERS
from trifolio.header_fields import CONNECTION_FIELDS

ROUTER = json_schema(Config, title="router.yaml")
EXAMPLE = (ROOT / "docs" / "router.md").read_text().split("## router.yaml")[1].split("```yaml\n")[1].split("```")[0]


def run(*arguments: str | Path) -> int:
    return main(["config", *map(str, arguments)])


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Where a router.yaml goes, beside a supergraph and a folder of nothing."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "supergraph.graphql").write_text(SUPERGRAPH)
    return tmp_path / "router.yaml"


# ---- settings by themselves ----


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_does_nothing_is_refused(settings: Path, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading a file and checking it say the same: one mistake, the line to mend, and what is wrong."""
    text, line, problem = case
    settings.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_config(settings, environment={})
    assert run("check", "--settings", settings) == 1
    [told] = capsys.readouterr().out.splitlines()
    assert told == refusal.value.message
    assert told.startswith(f"router.yaml:{line}: ")
    assert problem in told
    assert "user:pass" not in told


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_what_does_something_is_accepted(settings: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Legitimate settings are read, found without mistakes, and valid by the schema."""
    settings.write_text(text)
    read_config(settings, environment={})
    assert run("check", "--settings", settings) == 0
    assert capsys.readouterr().out == f"{settings}: no mistakes\n"
    assert list(Draft202012Validator(ROUTER).iter_errors(yaml.safe_load(text) or {})) == []


@pytest.mark.parametrize("name", sorted(CONNECTION_FIELDS | JSON_HEADERS.keys()))
def test_what_a_transport_decides_cannot_be_forwarded(name: str) -> None:
    """No header that the transport writes itself, or leaves out, is accepted among those to forward."""
    with pytest.raises(ConfigError, match="is never forwarded"):
        parse_config(f"headers: {{forward: [{name}]}}", name="r", folder=Path(), environment={})


def test_every_mistake_of_all_tables_is_told_at_once(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with many mistakes is checked once; as JSON each has its file, line, key, message and suggestion."""
    settings.write_text(
        "headers:\n  forward: [x-*, te]\nlimits:\n  body_bytes: 1\ncors:\n  origins: ['https://a.example/']\n"
        "override:\n  labels: {percent(5): true}\ntrusted_proxies: -1\n"
    )
    assert run("check", "--settings", settings, "--format", "json") == 1
    mistakes = json.loads(capsys.readouterr().out)["mistakes"]
    assert [(each["line"], each["path"]) for each in mistakes] == [
        (2, "headers.forward[0]"),
        (2, "headers.forward[1]"),
        (4, "limits"),
        (6, "cors.origins[0]"),
        (8, "override.labels"),
        (9, "trusted_proxies"),
    ]
    assert mistakes[2] == {
        "file": "router.yaml",
        "line": 4,
        "path": "limits",
        "message": "unknown key 'body_bytes'",
        "suggestion": "did you mean 'body_bytes_max'?",
    }
    assert run("check", "--settings", settings) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(mistakes)


def test_serve_tells_every_mistake(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`serve` refuses a file with each of its mistakes on a line, and ends with 1."""
    settings.write_text("access_log: 5\ntrusted_proxies: -1\n")
    code = main(["serve", "--supergraph", str(settings.with_name("supergraph.graphql")), "--settings", str(settings)])
    assert code == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: router.yaml:1: access_log: has to be true or false, not 5 [CONFIG_INVALID]",
        "error: router.yaml:2: trusted_proxies: has to be at least 0 [CONFIG_INVALID]",
    ]


# ---- settings and a supergraph ----

MISFITS: dict[str, Case] = {
    "a subgraph that is not there": ("subgraphs:\n  peple: {}\n", 2, "did you mean 'people'"),
    "a label that is not there": ("override:\n  labels:\n    new-checkout: true\n", 3, "no label 'new-checkout'"),
    "a sticky header for nothing": ("override:\n  sticky_header: x-user\n", 2, "no label percent(n)"),
    "headers that every subgraph overrules": (
        "headers:\n  forward: [x-a]\nsubgraphs: {people: {forward_headers: []}, places: {forward_headers: []}}\n",
        2,
        "every subgraph has forward_headers of its own",
    ),
}


@pytest.mark.parametrize("case", MISFITS.values(), ids=MISFITS)
def test_settings_have_to_fit_the_supergraph(settings: Path, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """With a supergraph, names that it does not have and settings that it does not use are mistakes."""
    text, line, problem = case
    settings.write_text(text)
    arguments = ("check", "--settings", settings, "--supergraph", settings.with_name("supergraph.graphql"))
    assert run("check", "--settings", settings) == 0
    capsys.readouterr()
    assert run(*arguments) == 1
    [told] = capsys.readouterr().out.splitlines()
    assert told.startswith(f"router.yaml:{line}: ")
    assert problem in told


def test_every_subgraph_needs_a_url(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A subgraph without a usable URL is a mistake of the settings that name it, else of the supergraph."""
    graph = settings.with_name("supergraph.graphql")
    graph.write_text(SUPERGRAPH.replace('"http', '"file'))
    settings.write_text("subgraphs:\n  people: {timeout_ms: 5}\n")
    assert run("check", "--settings", settings, "--supergraph", graph) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("router.yaml:2: subgraphs.people: ")
    assert "'people' has no http or https URL; set subgraphs.people.url" in first
    line = next(n for n, each in enumerate(SUPERGRAPH.splitlines(), start=1) if 'name: "places"' in each)
    assert second.startswith(f"supergraph.graphql:{line}: subgraph 'places' has no")
    settings.write_text("subgraphs: {people: {url: 'http://a'}, places: {url: 'http://b'}}\n")
    assert run("check", "--settings", settings, "--supergraph", graph) == 0


def test_a_composition_is_checked_with_the_settings(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --config the subgraphs are composed: the file's mistakes, and those of the composition, are told too."""
    folder = settings.parent
    (folder / "people.graphql").write_text(PEOPLE_SDL)
    (folder / "places.graphql").write_text(PLACES_SDL)
    config = folder / "supergraph.yaml"
    good = (
        "subgraphs:\n  people: {routing_url: http://people, schema: {file: people.graphql}}\n"
        "  places: {routing_url: http://places, schema: {file: places.graphql}}\n"
    )
    config.write_text(good)
    settings.write_text("override:\n  labels: {other: true}\n")
    assert run("check", "--config", config) == 0
    capsys.readouterr()
    assert run("check", "--settings", settings, "--config", config) == 1
    assert "router.yaml:2: override.labels.other: the supergraph has no label 'other'" in capsys.readouterr().out
    config.write_text(good.replace("http://places", "places"))
    assert run("check", "--config", config) == 1
    assert "supergraph.yaml:3: subgraphs.places: subgraph 'places' has no" in capsys.readouterr().out
    config.write_text(good.replace("people.graphql", "nowhere.graphql"))
    assert run("check", "--config", config) == 1
    assert "supergraph.yaml:2: error SUBGRAPH_SDL_UNAVAILABLE people" in capsys.readouterr().out
    config.write_text(good.replace("routing_url", "url"))
    assert run("check", "--config", config) == 1
    assert [each.split(": ")[0] for each in capsys.readouterr().out.splitlines()] == [
        "supergraph.yaml:2",
        "supergraph.yaml:3",
    ]


def test_a_schema_that_can_be_executed_needs_no_url(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A schema in Python may have no URL, but one that it has is one; no other source can do without."""
    config = settings.parent / "supergraph.yaml"
    config.write_text("subgraphs: {places: {schema: {python: 'tests.server.schemas:PEOPLE'}}}\n")
    assert run("check", "--config", config) == 0
    config.write_text("subgraphs: {places: {routing_url: x, schema: {python: 'tests.server.schemas:PEOPLE'}}}\n")
    assert run("check", "--config", config) == 1
    config.write_text("subgraphs: {places: {schema: {sdl: 'type Query { a: Int }'}}}\n")
    assert run("check", "--config", config) == 1
    assert "routing_url is missing" in capsys.readouterr().out


def test_what_cannot_be_read_is_a_mistake(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are missing, or are no supergraph, are named, as text and as JSON."""
    graph = settings.with_name("broken.graphql")
    graph.write_text("type Query {")
    assert run("check", "--settings", settings, "--supergraph", graph, "--format", "json") == 1
    first, second = json.loads(capsys.readouterr().out)["mistakes"]
    assert "there is no such file" in first["message"]
    assert second["file"] == "broken.graphql"


def test_something_has_to_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that names no file is at fault: 2."""
    assert run("check") == 2
    assert "name what to check" in capsys.readouterr().err


def test_the_brokerages_settings_are_without_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the brokerage writes for its router, and what its containers are given, fit its supergraph."""
    Development(tmp_path).prepare()
    graph = ROOT / "supergraph.graphql"
    assert run("check", "--settings", tmp_path / "router.yaml", "--supergraph", graph) == 0
    deployed = (ROOT / "deploy" / "router.yaml").read_text().replace("/run/secrets/", f"{tmp_path}/secrets/")
    with pytest.raises(ConfigError, match="the environment has no TRIFOLIO_TRUSTED_PROXIES"):
        parse_config(deployed, name="router.yaml", folder=ROOT / "deploy", environment={})
    said = {"TRIFOLIO_TRUSTED_PROXIES": "1"}
    config = parse_config(deployed, name="router.yaml", folder=ROOT / "deploy", environment=said)
    assert config.trusted_proxies == 1
    assert set(config.subgraphs) == {"users", "wallet", "stocks"}
    capsys.readouterr()


# ---- the schema ----


def test_the_documented_example_is_valid() -> None:
    """The example in docs/router.md is valid by the schema."""
    assert list(Draft202012Validator(ROUTER).iter_errors(yaml.safe_load(EXAMPLE))) == []


@pytest.mark.parametrize("case", BY_FORM.values(), ids=BY_FORM)
def test_the_schema_refuses_what_the_reader_refuses(case: Case) -> None:
    """What the form of a value tells is refused by the schema too."""
    assert list(Draft202012Validator(ROUTER).iter_errors(yaml.safe_load(case[0])))


def objects_in(schema: Any) -> list[dict[str, Any]]:
    """Every schema of a mapping with known keys."""
    below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    found = [each for part in below for each in objects_in(part)]
    return [schema, *found] if isinstance(schema, dict) and isinstance(schema.get("properties"), dict) else found


@pytest.mark.parametrize("cls", [Config, CompositionConfig])
def test_the_schema_is_one_and_says_what_each_key_means(cls: type) -> None:
    """It is a valid schema; every key is described, and keys that are not known are refused."""
    schema = json_schema(cls, title="a file")
    Draft202012Validator.check_schema(schema)
    for each in objects_in(schema):
        is_open = "python" in each["properties"] and "file" not in each["properties"]  # a plug-in has its own options
        assert each["additionalProperties"] is is_open
        assert all(field["description"] for field in each["properties"].values())
    assert list(schema["properties"]) == [each.name for each in fields(cls)]


def test_the_schema_has_defaults_and_bounds() -> None:
    """Editors see the default of a key and the least that it can be."""
    limit = ROUTER["properties"]["limits"]["properties"]["body_bytes_max"]
    assert limit["default"] == 2_000_000
    assert limit["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert ROUTER["properties"]["cors"]["properties"]["expose_headers"]["default"] == ["x-request-id"]


def test_the_schema_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config schema` prints the schema of router.yaml, or writes that of supergraph.yaml to a file."""
    assert run("schema") == 0
    assert json.loads(capsys.readouterr().out) == ROUTER
    path = tmp_path / "schema.json"
    assert run("schema", "--for", "supergraph", "--output", path) == 0
    schema = json.loads(path.read_text())
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load((ROOT / "supergraph.yaml").read_text()))) == []
    assert run("schema", "--output", tmp_path / "no" / "schema.json") == 1
