"""`trifolio dev`: subgraphs under development, composed again when one of them changes."""

import argparse
import os
from typing import TYPE_CHECKING

from trifolio.command.arguments import add_serving, add_supergraph_config
from trifolio.command.development import DevServer
from trifolio.command.files import read_settings
from trifolio.command.serving import serve_dev
from trifolio.config import read_composition_config

if TYPE_CHECKING:
    from trifolio.command.arguments import Commands


def add_to(commands: "Commands") -> None:
    """Add the command's parser."""
    command = commands.add_parser("dev", help="serve subgraphs under development, recompose when one changes")
    add_supergraph_config(command, help_text="the subgraphs")
    add_serving(command)
    command.set_defaults(run=_dev)


def _dev(options: argparse.Namespace) -> int:
    read_composition_config(options.config, environment=os.environ)  # a mistake in it is told at once
    settings = read_settings(options.settings, vars(options), development=True)
    server = DevServer(options.config, settings, os.environ)
    return serve_dev(server, options.host, options.port)
