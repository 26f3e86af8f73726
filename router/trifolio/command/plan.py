"""`trifolio plan`: the requests that answer an operation, as text, as JSON, or as the Python that reads the answer."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trifolio.command.files import read_text
from trifolio.config import Config
from trifolio.document import choose_operation, read_document
from trifolio.executor.codegen import generate
from trifolio.planner import plan
from trifolio.query_plan import Plan
from trifolio.supergraph import Supergraph

if TYPE_CHECKING:
    from trifolio.command.arguments import Commands


def add_to(commands: "Commands") -> None:
    """Add the command's parser."""
    command = commands.add_parser("plan", help="show the requests that answer an operation")
    command.add_argument("--supergraph", required=True, type=Path, metavar="FILE", help="a composed supergraph")
    command.add_argument("--operation", required=True, type=Path, metavar="FILE", help="a GraphQL document")
    command.add_argument("--operation-name", metavar="NAME", help="which operation of the document")
    command.add_argument("--label", action="append", default=[], metavar="LABEL", help="an @override label that holds")
    command.add_argument("--format", choices=("text", "json", "python"), default="text")
    command.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    supergraph = Supergraph.parse(read_text(options.supergraph))
    text = read_text(options.operation)
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
