"""Writes each subgraph's schema.graphql from its code. `make supergraph` runs it, then composes."""

import importlib

from brokerage import SERVICE_NAMES
from subgraphs.shared.graphql import write_sdl

for service in SERVICE_NAMES:
    module = importlib.import_module(f"subgraphs.{service}.schema")
    write_sdl(module.schema, str(module.__file__))
