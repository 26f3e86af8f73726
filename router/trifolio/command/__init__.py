"""The command line: compose a supergraph, check what it changes, show a plan, serve, develop, look at the settings.

Exit codes: 0 done, 1 the input is at fault (the text says what to change), 2 the command line is. What goes wrong is
said in one line, never as a traceback: a bug too names itself and where it happened, and asks to be reported.
"""

import argparse
import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Final

from trifolio.errors import RouterError
from trifolio.garbage import no_collection

COMMANDS: Final = ("compose", "check", "plan", "serve", "dev", "config")
"""In the order in which the help lists them; each is a module here with `add_to(commands)`."""

_INTERRUPTED: Final = 128 + 2
"""What a shell reports of a program that SIGINT ended."""
_BROKEN_PIPE: Final = 128 + 13
"""What a shell reports of a program that SIGPIPE ended."""
_OUTPUT_FAILS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
"""What writing to standard output fails with; a file that a command reads or writes itself is a ConfigError."""
_STDOUT: Final = 1
_STDERR: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        _settle_streams()
        code = _run(arguments)
    except RouterError as error:
        for each in error.errors():
            place = f"{each.locations[0][0]}:{each.locations[0][1]}: " if each.locations else ""
            _complain(f"error: {place}{each.message} [{each.code}]")
        return 1
    except KeyboardInterrupt:
        return _give_up_output(_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        return _give_up_output(_BROKEN_PIPE)
    except OSError as error:
        if error.errno not in _OUTPUT_FAILS:
            return _report(error)
        _complain(f"error: standard output cannot be written: {error.strerror}")
        return _give_up_output(1)
    except Exception as bug:  # noqa: BLE001  # the last resort: no command line shows a traceback
        return _report(bug)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        words = sys.argv[1:] if arguments is None else arguments
        with no_collection():
            parser = make_parser(_commands_for(words))
        options = parser.parse_args(words)
    except SystemExit:  # argparse has printed the help, or what is wrong
        sys.stdout.flush()
        raise
    code: int = options.run(options)
    sys.stdout.flush()
    return code


def _settle_streams() -> None:
    """Have three standard streams, and speak UTF-8: supergraphs do, whatever the locale."""
    if sys.stdout is None or sys.stderr is None or sys.stdin is None:
        # Who starts us with one closed would have the next file or socket that opens in its place, and Python print
        # to standard output what is for standard error.
        while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            pass
        os.close(number)
        sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)
        sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", encoding="utf-8", closefd=False)
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name that is not UTF-8 goes out as it came in.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def _give_up_output(code: int) -> int:
    """What is still buffered goes nowhere, in silence; returns the exit code."""
    with suppress(OSError, ValueError):  # a stream that is none of the process's has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _commands_for(words: Sequence[str]) -> Sequence[str]:
    """The command that they name, if it is one, else all: what a command does not need is not imported for it."""
    return [name for name in words[:1] if name in COMMANDS] or COMMANDS


def make_parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the command line with these commands; `options.run(options)` of what it parsed runs the one."""
    parser = argparse.ArgumentParser(
        prog="trifolio",
        description="Apollo Federation v2 in pure Python: compose, plan and serve a supergraph.",
    )
    parser.add_argument("--version", action="version", version=f"trifolio {version('trifolio')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        import_module(f"trifolio.command.{name}").add_to(commands)
    return parser


def _report(bug: Exception) -> int:
    _complain(f"error: this is a bug in trifolio, please report it: {_where(bug)}: {type(bug).__name__}: {bug}")
    return 1


def _where(bug: Exception) -> str:
    """The innermost place of ours that a bug came through, as `file:line`."""
    frames = [each for each in traceback.extract_tb(bug.__traceback__) if "trifolio" in each.filename]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "nowhere of ours"


def _complain(text: str) -> None:
    with suppress(OSError):  # nobody listens
        print(text, file=sys.stderr, flush=True)
