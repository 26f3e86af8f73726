"""`trifolio compose`: a supergraph out of subgraphs, once or whenever one of them changes."""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trifolio.command.arguments import add_supergraph_config
from trifolio.command.development import INTERVAL_S
from trifolio.command.files import write_text
from trifolio.command.sources import read_sdls
from trifolio.composer import CompositionResult, Diagnostic, Subgraph, compose
from trifolio.config import read_composition_config
from trifolio.errors import ConfigError

if TYPE_CHECKING:
    from trifolio.command.arguments import Commands

_NO_SDL: Final = "SUBGRAPH_SDL_UNAVAILABLE"
"""The code of a subgraph that composition did not get to see."""


def add_to(commands: "Commands") -> None:
    """Add the command's parser."""
    command = commands.add_parser("compose", help="make a supergraph out of subgraphs")
    add_supergraph_config(command, help_text="the subgraphs to compose")
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


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What composition starts from, as it was read; equal where nothing has changed."""

    subgraphs: tuple[Subgraph, ...]
    unavailable: tuple[Diagnostic, ...]
    """One for each subgraph whose SDL cannot be had."""


def _compose(options: argparse.Namespace) -> int:
    if not options.watch:
        return _report(options, composition(options.config))
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
        print(json.dumps(composition_as_json(result, with_supergraph=options.output is None), indent=2))
    elif options.format == "github":
        _print_annotations(result, options.config)
    else:
        print_diagnostics(result)
    if result.supergraph is None:
        return 1
    if options.output is not None:
        write_text(options.output, result.supergraph)
    elif options.format != "json":
        print(result.supergraph)
    return 0


def composition(path: Path) -> CompositionResult:
    """Compose what a `supergraph.yaml` names. Raises ConfigError where that file is at fault."""
    return _compose_inputs(_inputs(path))


def _inputs(path: Path) -> _Inputs:
    config = read_composition_config(path, environment=os.environ)
    sdls = read_sdls(config, path.parent)
    subgraphs = (Subgraph(name=name, url=config.subgraphs[name].url, sdl=sdl) for name, sdl in sdls.texts.items())
    unavailable = (Diagnostic(_NO_SDL, "error", problem, (name,)) for name, problem in sdls.problems.items())
    return _Inputs(tuple(subgraphs), tuple(unavailable))


def _compose_inputs(inputs: _Inputs) -> CompositionResult:
    return CompositionResult(None, inputs.unavailable) if inputs.unavailable else compose(inputs.subgraphs)


def composition_as_json(result: CompositionResult, *, with_supergraph: bool) -> dict[str, object]:
    """The diagnostics as JSON data, and the supergraph where it is wanted."""
    body: dict[str, object] = {"diagnostics": [asdict(each) for each in result.diagnostics]}
    return {**body, "supergraph": result.supergraph} if with_supergraph else body


def print_diagnostics(result: CompositionResult) -> None:
    """Print what composition has to say, a line each, on standard error."""
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
