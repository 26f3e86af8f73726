"""`python -m router`: compose a supergraph, check what it changes, show a plan, serve, develop.

Exit codes: 0 done, 1 the input is at fault (the text says what to change), 2 the command line is.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from router.composer import CompositionResult, Diagnostic, Subgraph, compose
from router.config import Config, parse_config, read_composition_config, read_config
from router.dev import INTERVAL_S, DevServer
from router.document import choose_operation, read_document
from router.errors import ConfigError, RouterError
from router.executor.codegen import generate
from router.plan import Plan
from router.planner import plan
from router.schema_changes import find_broken_operations, find_changes
from router.serve import Serving, serve, serve_dev
from router.sources import read_sdls
from router.supergraph import Supergraph

_NO_SDL: Final = "SUBGRAPH_SDL_UNAVAILABLE"
"""The code of a subgraph that composition did not get to see."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except RouterError as error:
        for each in error.errors():
            place = f"{each.locations[0][0]}:{each.locations[0][1]}: " if each.locations else ""
            print(f"error: {place}{each.message} [{each.code}]", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m router",
        description="Apollo Federation v2 in pure Python: compose, plan and serve a supergraph.",
    )
    parser.add_argument("--version", action="version", version=f"trifolio {version('trifolio')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("compose", help="make a supergraph out of subgraphs")
    command.add_argument(
        "--config", required=True, type=Path, metavar="supergraph.yaml", help="the subgraphs to compose"
    )
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="where the supergraph goes; standard output if none"
    )
    command.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="how diagnostics are printed; json holds the supergraph too, github annotates a workflow's files",
    )
    command.add_argument(
        "--watch", action="store_true", help="compose again whenever a subgraph changes; needs --output"
    )
    command.set_defaults(run=_compose)

    command = commands.add_parser("check", help="say what a new supergraph changes for clients of the old one")
    command.add_argument(
        "--config", required=True, type=Path, metavar="supergraph.yaml", help="the subgraphs as they will be"
    )
    command.add_argument("--against", required=True, type=Path, metavar="FILE", help="the supergraph as it is")
    command.add_argument(
        "--operations",
        type=Path,
        metavar="DIR",
        help="clients' operations (*.graphql): only what breaks one of them counts",
    )
    command.add_argument("--format", choices=("text", "json"), default="text")
    command.set_defaults(run=_check)

    command = commands.add_parser("plan", help="show the requests that answer an operation")
    command.add_argument("--supergraph", required=True, type=Path, metavar="FILE", help="a composed supergraph")
    command.add_argument("--operation", required=True, type=Path, metavar="FILE", help="a GraphQL document")
    command.add_argument("--operation-name", metavar="NAME", help="which operation of the document")
    command.add_argument("--label", action="append", default=[], metavar="LABEL", help="an @override label that holds")
    command.add_argument("--format", choices=("text", "json", "python"), default="text")
    command.set_defaults(run=_plan)

    command = commands.add_parser("dev", help="serve subgraphs under development, recompose when one changes")
    command.add_argument("--config", required=True, type=Path, metavar="supergraph.yaml", help="the subgraphs")
    command.add_argument(
        "--settings", type=Path, metavar="router.yaml", help="URLs, headers, limits, CORS and the like"
    )
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    command.add_argument("--port", type=int, default=4000, help="the port; 0 takes a free one (default: %(default)s)")
    command.set_defaults(run=_dev)

    command = commands.add_parser("serve", help="serve a supergraph over HTTP")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--supergraph", type=Path, metavar="FILE", help="a composed supergraph")
    source.add_argument("--config", type=Path, metavar="supergraph.yaml", help="compose these subgraphs first")
    command.add_argument(
        "--settings", type=Path, metavar="router.yaml", help="URLs, headers, limits, CORS and the like"
    )
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    command.add_argument("--port", type=int, default=4000, help="the port; 0 takes a free one (default: %(default)s)")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    command.set_defaults(run=_serve)
    return parser


# ---- compose ----


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What composition starts from, as it was read; equal where nothing has changed."""

    subgraphs: tuple[Subgraph, ...]
    unavailable: tuple[Diagnostic, ...]
    """One for each subgraph whose SDL cannot be had."""


def _compose(options: argparse.Namespace) -> int:
    if not options.watch:
        return _report(options, _composition(options.config))
    if options.output is None:
        print("error: --watch needs --output", file=sys.stderr)
        return 2
    return _watch(options)


def _watch(options: argparse.Namespace) -> int:
    """Compose again whenever what is read has changed, until a signal ends it."""
    seen: _Inputs | str | None = None
    while True:
        found: _Inputs | str
        try:
            found = _inputs(options.config)
        except ConfigError as error:
            found = error.message
        if found != seen:
            seen = found
            if isinstance(found, str):
                print(f"error: {found}", file=sys.stderr)
            elif _report(options, _compose_inputs(found)) == 0:
                print(f"{options.output} is composed", file=sys.stderr)
        time.sleep(INTERVAL_S)


def _report(options: argparse.Namespace, result: CompositionResult) -> int:
    """Print and write what composition came to; returns the exit code."""
    if options.format == "json":
        # The supergraph stands in the JSON where it goes nowhere else.
        print(json.dumps(_composition_as_json(result, with_supergraph=options.output is None), indent=2))
    elif options.format == "github":
        _print_annotations(result, options.config)
    else:
        _print_diagnostics(result)
    if result.supergraph is None:
        return 1
    if options.output is not None:
        _write(options.output, result.supergraph)
    elif options.format != "json":
        print(result.supergraph)
    return 0


def _composition(path: Path) -> CompositionResult:
    return _compose_inputs(_inputs(path))


def _inputs(path: Path) -> _Inputs:
    config = read_composition_config(path, environment=os.environ)
    sdls = read_sdls(config, path.parent)
    subgraphs = (Subgraph(name=name, url=config.subgraphs[name].url, sdl=sdl) for name, sdl in sdls.texts.items())
    unavailable = (Diagnostic(_NO_SDL, "error", problem, (name,)) for name, problem in sdls.problems.items())
    return _Inputs(tuple(subgraphs), tuple(unavailable))


def _compose_inputs(inputs: _Inputs) -> CompositionResult:
    return CompositionResult(None, inputs.unavailable) if inputs.unavailable else compose(inputs.subgraphs)


def _composition_as_json(result: CompositionResult, *, with_supergraph: bool) -> dict[str, object]:
    body: dict[str, object] = {"diagnostics": [asdict(each) for each in result.diagnostics]}
    return {**body, "supergraph": result.supergraph} if with_supergraph else body


def _print_diagnostics(result: CompositionResult) -> None:
    for diagnostic in result.diagnostics:
        print(diagnostic, file=sys.stderr)


def _print_annotations(result: CompositionResult, path: Path) -> None:
    """GitHub's workflow commands, on standard error: each diagnostic at its line of the subgraph's file."""
    config = read_composition_config(path, environment=os.environ)
    for diagnostic in result.diagnostics:
        level = "error" if diagnostic.severity == "error" else "notice"
        properties = [f"title={diagnostic.code}"]
        for place in diagnostic.locations[:1]:
            file = config.subgraphs[place.subgraph].schema.file
            if file is not None:
                properties += [f"file={path.parent / file}", f"line={place.line}", f"col={place.column}"]
        message = diagnostic.message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::{level} {','.join(properties)}::{message}", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


# ---- check ----


def _check(options: argparse.Namespace) -> int:
    old = Supergraph.parse(_read(options.against)).api_schema
    result = _composition(options.config)
    if result.supergraph is None:
        if options.format == "json":
            print(json.dumps(_composition_as_json(result, with_supergraph=False), indent=2))
        else:
            _print_diagnostics(result)
        return 1
    new = Supergraph.parse(result.supergraph).api_schema
    changes = find_changes(old, new)
    documents = _read_operations(options.operations) if options.operations is not None else None
    broken = find_broken_operations(old, new, documents) if documents is not None else ()
    if options.format == "json":
        body = {"changes": [asdict(each) for each in changes], "broken_operations": [asdict(each) for each in broken]}
        print(json.dumps(body, indent=2))
    else:
        for line in (*changes, *broken):
            print(line)
    if documents is not None:
        return 1 if broken else 0
    return 1 if any(change.severity == "breaking" for change in changes) else 0


def _read_operations(folder: Path) -> dict[str, str]:
    """Every document below a folder, by its path in there."""
    documents = {str(path.relative_to(folder)): _read(path) for path in sorted(folder.rglob("*.graphql"))}
    if not documents:
        raise ConfigError(f"{folder} has no *.graphql files")
    return documents


# ---- plan ----


def _plan(options: argparse.Namespace) -> int:
    supergraph = Supergraph.parse(_read(options.supergraph))
    text = _read(options.operation)
    document = read_document(text, supergraph.api_schema, Config().limits, introspection=True)
    choose_operation(document, options.operation_name)
    made = plan(document, supergraph, operation_name=options.operation_name, labels=frozenset(options.label))
    print(_PLAN_FORMATS[options.format](made))
    return 0


def _plan_as_python(made: Plan) -> str:
    program = generate(made)
    return program.source.rstrip() if program else "# The interpreter executes this plan: it is too large to compile."


_PLAN_FORMATS: Final[Mapping[str, Callable[[Plan], str]]] = {
    "text": str,
    "json": lambda made: json.dumps(made.to_json(), indent=2),
    "python": _plan_as_python,
}


# ---- serve ----


def _serve(options: argparse.Namespace) -> int:
    if options.supergraph is not None:
        sdl = _read(options.supergraph)
    else:
        result = _composition(options.config)
        _print_diagnostics(result)
        if result.supergraph is None:
            return 1
        sdl = result.supergraph
    config = _settings(options.settings)
    return serve(Serving(sdl, config, host=options.host, port=options.port, workers=options.workers))


def _dev(options: argparse.Namespace) -> int:
    read_composition_config(options.config, environment=os.environ)  # a mistake in it is told at once
    server = DevServer(options.config, _settings(options.settings), os.environ)
    return serve_dev(server, options.host, options.port)


def _settings(path: Path | None) -> Config:
    if path is not None:
        return read_config(path, environment=os.environ)
    return parse_config("", name="router.yaml", folder=Path(), environment=os.environ)
