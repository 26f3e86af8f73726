"""`trifolio check`: what a new supergraph changes for clients of the old one."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trifolio.command.arguments import add_supergraph_config
from trifolio.command.compose import composition, composition_as_json, print_diagnostics
from trifolio.command.files import read_text
from trifolio.errors import ConfigError
from trifolio.schema_changes import find_broken_operations, find_changes
from trifolio.supergraph import Supergraph

if TYPE_CHECKING:
    from trifolio.command.arguments import Commands


def add_to(commands: "Commands") -> None:
    """Add the command's parser."""
    command = commands.add_parser("check", help="say what a new supergraph changes for clients of the old one")
    add_supergraph_config(command, help_text="the subgraphs as they will be")
    command.add_argument("--against", required=True, type=Path, metavar="FILE", help="the supergraph as it is")
    command.add_argument(
        "--operations",
        type=Path,
        metavar="DIR",
        help="clients' operations (*.graphql): only what breaks one of them counts",
    )
    command.add_argument("--format", choices=("text", "json"), default="text")
    command.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    old = Supergraph.parse(read_text(options.against)).api_schema
    result = composition(options.config)
    if result.supergraph is None:
        if options.format == "json":
            print(json.dumps(composition_as_json(result, with_supergraph=False), indent=2))
        else:
            print_diagnostics(result)
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
    try:
        paths = sorted(folder.rglob("*.graphql"))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror or error}") from error
    documents = {str(path.relative_to(folder)): read_text(path) for path in paths}
    if not documents:
        raise ConfigError(f"{folder} has no *.graphql files")
    return documents
