"""SECURITY.md names the limits that strangers meet, with their defaults, and the codes that they end with."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from trifolio.errors import ErrorCode
from trifolio.limits import JwtLimits, Limits

PAGE = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| `(\w+)` \| ([\d,]+) \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
DEFAULTS: Mapping[str, object] = {each.name: each.default for cls in (Limits, JwtLimits) for each in fields(cls)}
OF_THE_OPERATOR = {
    "fetch_idle_timeout_ms",  # when a connection that nobody uses is closed
    "lame_duck_ms",  # how the process ends
    "plugin_start_timeout_ms",  # how it starts
    "subscription_heartbeat_ms",  # what is sent while nothing happens
    "shutdown_timeout_ms",
}
"""Limits that no stranger, no client and no subgraph meets."""
OF_PLUGINS = {"UNAUTHENTICATED", "TOKENS_NOT_VERIFIABLE"}
"""Codes of what is built in and not in the catalogue."""


def test_every_limit_that_strangers_meet_is_named() -> None:
    """The table has each limit once, apart from those that are for the operator alone."""
    named = [limit for _, limit, _, _ in ROWS]
    assert sorted(named) == sorted(DEFAULTS.keys() - OF_THE_OPERATOR)


def test_what_the_page_names_is_there() -> None:
    """Every limit of the table exists, with the default that the table says, and every code is one of the router's."""
    assert DEFAULTS.keys() >= OF_THE_OPERATOR
    for attack, limit, default, end in ROWS:
        assert f"{DEFAULTS[limit]:,}" == default, attack
        for code in re.findall(r"`([A-Z_]+)`", end):
            assert code in OF_PLUGINS or code in ErrorCode.__members__, attack
