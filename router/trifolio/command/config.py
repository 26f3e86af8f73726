"""`trifolio config`: every mistake in the settings at once, and the JSON Schema by which editors check them."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphql import EnumTypeDefinitionNode, StringValueNode, parse

from trifolio.command.compose import composition
from trifolio.command.files import read_text, write_text
from trifolio.config import (
    CompositionConfig,
    Config,
    HeadersConfig,
    OverrideConfig,
    Reading,
    examine_composition_config,
    examine_config,
)
from trifolio.config.forms import HttpUrl, Key, Label, Mistake, mistakes_in
from trifolio.config.json_schema import json_schema
from trifolio.errors import ConfigError, ConfigProblem, RouterError
from trifolio.limits import Limits
from trifolio.supergraph import Supergraph

if TYPE_CHECKING:
    from trifolio.command.arguments import Commands

_FILES: Final = {"router": (Config, "router.yaml"), "supergraph": (CompositionConfig, "supergraph.yaml")}
_PERCENT: Final = "percent("


def add_to(commands: "Commands") -> None:
    """Add the command's parser."""
    command = commands.add_parser("config", help="check the settings, or print the JSON Schema for editors")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="tell every mistake in the settings, with its line")
    check.add_argument("--settings", type=Path, metavar="router.yaml", help="the settings to check")
    source = check.add_mutually_exclusive_group()
    source.add_argument("--supergraph", type=Path, metavar="FILE", help="a supergraph that they have to fit")
    source.add_argument("--config", type=Path, metavar="supergraph.yaml", help="compose it, and check this file too")
    check.add_argument("--format", choices=("text", "json"), default="text")
    check.set_defaults(run=_check)
    schema = actions.add_parser("schema", help="print the JSON Schema of a file, for editors")
    schema.add_argument("--for", dest="file", choices=tuple(_FILES), default="router", help="default: %(default)s")
    schema.add_argument("--output", type=Path, metavar="FILE", help="where it goes; standard output if none")
    schema.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    cls, title = _FILES[options.file]
    text = json.dumps(json_schema(cls, title=title), indent=2, ensure_ascii=False)
    if options.output is None:
        print(text)
    else:
        write_text(options.output, text + "\n")
    return 0


def _check(options: argparse.Namespace) -> int:
    files = [path for path in (options.settings, options.supergraph, options.config) if path is not None]
    if not files:
        print("error: name what to check: --settings, --supergraph or --config", file=sys.stderr)
        return 2
    problems = list(_problems(options))
    if options.format == "json":
        print(json.dumps({"mistakes": [asdict(each) for each in problems]}, indent=2))
    else:
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{', '.join(map(str, files))}: no mistakes")
    return 1 if problems else 0


def _problems(options: argparse.Namespace) -> Iterator[ConfigProblem]:
    """What is wrong with the settings by themselves and with the supergraph, then with the supergraph by itself."""
    settings: Reading[Config] | None = None
    graph: _Graph | None = None
    of_settings: list[ConfigProblem] = []
    of_graph: list[ConfigProblem] = []
    if options.settings is not None:
        try:
            settings = examine_config(options.settings, environment=os.environ)
            of_settings += settings.problems
        except ConfigError as error:
            of_settings += error.problems
    try:
        if options.supergraph is not None:
            graph = _read_supergraph(options.supergraph)
        elif options.config is not None:
            graph, found = _read_composition(options.config)
            of_graph += found
    except ConfigError as error:
        of_graph += error.problems
    except RouterError as error:
        of_graph.append(ConfigProblem(error.message, file=(options.supergraph or options.config).name))
    if graph is not None:
        if settings is not None:
            of_settings += map(settings.problem, _misfits(settings.written, graph))
        for name, mistake in _without_url(settings.written if settings else {}, graph):
            is_in_settings = settings is not None and mistake.key in settings.lines
            if settings is not None and is_in_settings:
                of_settings.append(settings.problem(mistake))
            else:
                of_graph.append(graph.problem(name, mistake))
    for found in (of_settings, of_graph):
        yield from sorted(found, key=lambda each: each.line or 0)


# ---- the supergraph ----


@dataclass(frozen=True, slots=True)
class _Graph:
    """What settings have to fit."""

    urls: Mapping[str, str]
    """The URL of each subgraph in it; may be none."""
    labels: frozenset[str] | None
    """The labels of its progressive @overrides; None where they are not known."""
    problem: Callable[[str, Mistake], ConfigProblem]
    """A mistake at a subgraph, with its line in the file."""
    executed: frozenset[str] = frozenset()
    """The subgraphs that need no URL, as their schema can be executed where they are composed."""


def _read_supergraph(path: Path) -> _Graph:
    text = read_text(path)
    supergraph = Supergraph.parse(text)
    urls = {name: each.url for name, each in supergraph.subgraphs.items()}

    def problem(name: str, mistake: Mistake) -> ConfigProblem:
        return ConfigProblem(mistake.message, mistake.suggestion, path.name, _graph_line(text, name))

    return _Graph(urls, supergraph.labels, problem)


def _graph_line(text: str, name: str) -> int | None:
    """Where the supergraph names a subgraph: the enum's value with @join__graph(name:)."""
    enums = (each for each in parse(text).definitions if isinstance(each, EnumTypeDefinitionNode))
    for value in (value for enum in enums for value in enum.values or ()):
        names = [each.value for directive in value.directives or () for each in directive.arguments or ()]
        if value.loc is not None and any(isinstance(each, StringValueNode) and each.value == name for each in names):
            return value.loc.start_token.line
    return None


def _read_composition(path: Path) -> tuple[_Graph | None, list[ConfigProblem]]:
    """What a supergraph.yaml names, and what is wrong with it; the labels are known if it composes."""
    reading = examine_composition_config(path, environment=os.environ)
    if reading.value is None:
        return None, list(reading.problems)
    urls = {name: source.url for name, source in reading.value.subgraphs.items()}
    result = composition(path)
    labels = None if result.supergraph is None else Supergraph.parse(result.supergraph).labels
    errors = [each for each in result.diagnostics if each.severity == "error"]
    found = [
        ConfigProblem(str(each), file=path.name, line=reading.lines.get(("subgraphs", *each.subgraphs[:1])))
        for each in errors
    ]
    executed = frozenset(name for name, source in reading.value.subgraphs.items() if source.schema.python)
    graph = _Graph(urls, labels, lambda name, mistake: reading.problem(_at(("subgraphs", name), mistake)), executed)
    return graph, found


def _at(key: Key, mistake: Mistake) -> Mistake:
    return Mistake(mistake.message, mistake.suggestion, key)


# ---- what does not fit ----

_OVERRULED: Final = {"timeout_ms": ("limits", "fetch_timeout_ms"), "forward_headers": ("headers", "forward")}
"""What a subgraph's own setting overrules."""


def _misfits(written: Mapping[Key, Any], graph: _Graph) -> Iterator[Mistake]:
    """Names that the supergraph does not have, and settings that do nothing for it."""
    for key in written:
        match key:
            case ("subgraphs", str(name)) if name not in graph.urls:
                yield Mistake(f"the supergraph has no subgraph {name!r}", _nearest(name, [*graph.urls]), key)
            case ("override", "labels", str(label)) if not any(mistakes_in(Label, label)):
                others = sorted(each for each in graph.labels or () if not each.startswith(_PERCENT))
                if graph.labels is not None and label not in graph.labels:
                    yield Mistake(f"the supergraph has no label {label!r}", _nearest(label, others), key)
    sticky, default = ("override", "sticky_header"), OverrideConfig().sticky_header
    has_percentages = graph.labels is None or any(each.startswith(_PERCENT) for each in graph.labels)
    if written.get(sticky, default) != default and not has_percentages:
        yield Mistake("does nothing, the supergraph has no label percent(n)", "remove it", sticky)
    defaults = {"timeout_ms": Limits().fetch_timeout_ms, "forward_headers": HeadersConfig().forward}
    for own, general in _OVERRULED.items():
        if written.get(general, defaults[own]) != defaults[own] and all(
            written.get(("subgraphs", name, own)) is not None for name in graph.urls
        ):
            yield Mistake(f"does nothing, every subgraph has {own} of its own", "remove it", general)


def _without_url(written: Mapping[Key, Any], graph: _Graph) -> Iterator[tuple[str, Mistake]]:
    for name, url in graph.urls.items():
        own = written.get(("subgraphs", name, "url"))
        if own is None and any(mistakes_in(HttpUrl, url)) and not (name in graph.executed and not url):
            cure = f"set subgraphs.{name}.url in router.yaml"
            yield name, Mistake(f"subgraph {name!r} has no http or https URL", cure, ("subgraphs", name))


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"it has {', '.join(known)}" if known else "it has none"
