"""`trifolio serve`: a supergraph over HTTP, composed already or composed at the start."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trifolio.command.arguments import add_serving, count
from trifolio.command.files import read_settings, read_text
from trifolio.command.schemas import references_without_url
from trifolio.command.serving import Serving, serve
from trifolio.config import read_composition_config

if TYPE_CHECKING:
    from trifolio.command.arguments import Commands


def add_to(commands: "Commands") -> None:
    """Add the command's parser."""
    command = commands.add_parser("serve", help="serve a supergraph over HTTP")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--supergraph", type=Path, metavar="FILE", help="a composed supergraph")
    source.add_argument("--config", type=Path, metavar="supergraph.yaml", help="compose these subgraphs first")
    add_serving(command)
    command.add_argument("--workers", type=count, default=1, metavar="N", help="processes (default: %(default)s)")
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    config = read_settings(options.settings, vars(options))
    schemas, folder = dict[str, str](), Path()
    if options.supergraph is not None:
        sdl = read_text(options.supergraph)
    else:
        from trifolio.command.compose import composition, print_diagnostics  # late: a supergraph is served without

        folder = options.config.parent
        schemas = references_without_url(read_composition_config(options.config, environment=os.environ), config)
        result = composition(options.config)
        print_diagnostics(result)
        if result.supergraph is None:
            return 1
        sdl = result.supergraph
    return serve(
        Serving(
            sdl,
            config,
            host=options.host,
            port=options.port,
            workers=options.workers,
            schemas=schemas,
            folder=folder,
        )
    )
