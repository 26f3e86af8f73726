"""What the arguments of several commands have in common: the parser's groups, a port, the address to listen on."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trifolio.config.values import PORT_MAX

if TYPE_CHECKING:  # argparse keeps the class to itself
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """Where a command adds its parser."""

_DIGITS_MAX: Final = 5
"""Five digits: ports have no more, and no machine runs more processes."""


def port(text: str) -> int:
    """A port to listen on; 0 takes a free one. Raises what argparse shows beside the usage."""
    if _is_number(text) and int(text) <= PORT_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no port: choose one from 1 to {PORT_MAX}, or 0 for a free one")


def count(text: str) -> int:
    """A number of things, at least one. Raises what argparse shows beside the usage."""
    if _is_number(text) and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number from 1 to 99,999")


def host(text: str) -> str:
    """An address or a name to listen on. Raises what argparse shows beside the usage."""
    if text.strip() and text.isprintable():
        return text
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no address: 127.0.0.1 is this machine alone, 0.0.0.0 is all")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def add_supergraph_config(parser: argparse.ArgumentParser, *, help_text: str) -> None:
    """`--config supergraph.yaml`, which a command cannot do without."""
    parser.add_argument("--config", required=True, type=Path, metavar="supergraph.yaml", help=help_text)


def add_serving(parser: argparse.ArgumentParser) -> None:
    """`--settings`, `--host`, `--port` and the switches of what serves."""
    parser.add_argument("--settings", type=Path, metavar="router.yaml", help="URLs, headers, limits, CORS and the like")
    parser.add_argument(
        "--host", type=host, default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=port, default=4000, help="the port; 0 takes a free one (default: %(default)s)")
    switches = (
        ("introspection", "the schema to whoever asks"),
        ("explorer", "GraphiQL to browsers"),
        ("traces", "its plan and fetches to a request that asks"),
    )
    for switch, what in switches:
        help_text = f"show {what}, or not (default: as router.yaml says; else off, under dev on)"
        parser.add_argument(f"--{switch}", action=argparse.BooleanOptionalAction, default=None, help=help_text)
