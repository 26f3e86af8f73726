"""The command line: compose a supergraph, check what it changes, show a plan, serve, develop, look at the settings.

Exit codes: 0 done, 1 the input is at fault (the text says what to change), 2 the command line is. What goes wrong is
said in one line, never as a traceback: a bug too names itself and where it happened, and asks to be reported.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from trifolio.errors import RouterError

COMMANDS: Final = ("compose", "check", "plan", "serve", "dev", "config")
"""In the order in which the help lists them; each is a module here with `add_to(commands)`."""

_BROKEN_PIPE: Final = 128 + 13
"""What a shell reports of a program that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = make_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except RouterError as error:
        for each in error.errors():
            place = f"{each.locations[0][0]}:{each.locations[0][1]}: " if each.locations else ""
            _complain(f"error: {place}{each.message} [{each.code}]")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough. What is still buffered goes nowhere, in silence.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as bug:  # noqa: BLE001  # the last resort: no command line shows a traceback
        _complain(f"error: this is a bug in trifolio, please report it: {_where(bug)}: {type(bug).__name__}: {bug}")
        return 1
    return code


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `options.run(options)` of what it parsed runs the command."""
    parser = argparse.ArgumentParser(
        prog="trifolio",
        description="Apollo Federation v2 in pure Python: compose, plan and serve a supergraph.",
    )
    parser.add_argument("--version", action="version", version=f"trifolio {version('trifolio')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"trifolio.command.{name}").add_to(commands)
    return parser


def _where(bug: Exception) -> str:
    """The innermost place of ours that a bug came through, as `file:line`."""
    frames = [each for each in traceback.extract_tb(bug.__traceback__) if "trifolio" in each.filename]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "nowhere of ours"


def _complain(text: str) -> None:
    print(text, file=sys.stderr)
