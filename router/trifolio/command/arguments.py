"""What the arguments of several commands have in common: the parser's groups, a port, the address to listen on."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # argparse keeps the class to itself
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """Where a command adds its parser."""

PORT_MAX: Final = 65_535
"""The largest number that TCP has for a port."""


def port(text: str) -> int:
    """A port to listen on; 0 takes a free one. Raises what argparse shows beside the usage."""
    if text.isascii() and text.isdigit() and int(text) <= PORT_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: choose one from 1 to {PORT_MAX}, or 0 for a free one")


def count(text: str) -> int:
    """A number of things, at least one. Raises what argparse shows beside the usage."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")


def add_supergraph_config(parser: argparse.ArgumentParser, *, help_text: str) -> None:
    """`--config supergraph.yaml`, which a command cannot do without."""
    parser.add_argument("--config", required=True, type=Path, metavar="supergraph.yaml", help=help_text)


def add_serving(parser: argparse.ArgumentParser) -> None:
    """`--settings`, `--host` and `--port` of what serves."""
    parser.add_argument("--settings", type=Path, metavar="router.yaml", help="URLs, headers, limits, CORS and the like")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=4000, help="the port; 0 takes a free one (default: %(default)s)")
