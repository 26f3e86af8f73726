"""docs/router.md and docs/api.md say what the code says."""

import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import trifolio
from tools.api_page import PAGE as API_PAGE
from tools.api_page import api_page
from trifolio.command import COMMANDS
from trifolio.config import (
    AuthorizationConfig,
    Config,
    CorsConfig,
    HeadersConfig,
    MetricsConfig,
    OverrideConfig,
    SubgraphConfig,
    parse_config,
)
from trifolio.config.effect import CUT_BY
from trifolio.config.values import CORS_MAX_AGE_S, PROXIES_MAX
from trifolio.errors import ErrorCode
from trifolio.limits import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "router.md").read_text()
NAMES = api_page()


@pytest.mark.parametrize("limit", fields(Limits), ids=lambda each: each.name)
def test_every_limit_is_documented_with_its_default(limit: object) -> None:
    """The table of limits has each by name, with the default that holds."""
    assert f"| `{limit.name}` | {limit.default:,} | " in PAGE  # type: ignore[attr-defined]  # a dataclass field


@pytest.mark.parametrize("code", ErrorCode, ids=str)
def test_every_code_is_documented_with_its_meaning(code: ErrorCode) -> None:
    """The table of codes is the catalogue."""
    assert f"| `{code.name}` | {code.fault} | {code.status} | {code.text} |" in PAGE


def test_every_key_of_router_yaml_is_documented(tmp_path: Path) -> None:
    """The example names every key, and is a valid router.yaml whose values are the defaults where there are any."""
    example = PAGE.split("## router.yaml")[1].split("```yaml\n")[1].split("```")[0]
    for cls in (Config, SubgraphConfig, HeadersConfig, CorsConfig, OverrideConfig, AuthorizationConfig, MetricsConfig):
        for each in fields(cls):
            assert f"{each.name}:" in example
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "10-me.graphql").write_text("{ me { name } }")
    config = parse_config(example, name="example", folder=tmp_path, environment={"USERS_ROUTER_SECRET": "s"})
    assert config.limits == Limits()
    assert (config.introspection, config.explorer, config.csrf_protection, config.access_log) == (True,) * 4
    assert (config.cors.allow_headers, config.cors.max_age_s) == (CorsConfig().allow_headers, CorsConfig().max_age_s)


# ---- docs/api.md ----


def test_the_page_of_names_is_current() -> None:
    """docs/api.md is what the source says; after a change: make docs."""
    assert API_PAGE.read_text(encoding="utf-8") == NAMES


@pytest.mark.parametrize("name", trifolio.__all__)
def test_every_exported_name_is_described(name: str) -> None:
    """The page tells of each name, its methods and what its fields mean, and nothing that only its own module knows."""
    _, found, rest = NAMES.partition(f"\n## `{name}`\n")
    assert found
    section = rest.partition("\n## ")[0]
    assert len(section.split()) > 5
    assert not re.search(r"(?<![\w.])_[a-zA-Z]\w*", re.sub(r"`_(?:entities|service|Any)\b", "", section))
    value = getattr(trifolio, name)
    if isinstance(value, type):
        own = [key for key, each in vars(value).items() if not key.startswith("_") and inspect.isfunction(each)]
        assert [key for key in own if f"\n### `{name}.{key}`\n" not in section] == []
        if is_dataclass(value):
            shown = [each.name for each in fields(value) if not each.name.startswith("_")]
            assert [key for key in shown if not re.search(rf"\n- `{key}: [^`]+`:\s", section)] == []


def test_the_page_of_names_has_lines_that_can_be_read() -> None:
    """No line but a table's is longer than the repository's Markdown has them, and every link leads to a section."""
    assert [line for line in NAMES.splitlines() if len(line) > 120 and not line.startswith("|")] == []
    headings = re.findall(r"^##+ `(.+)`$", NAMES, flags=re.MULTILINE)
    anchors = [re.sub(r"[^\w-]", "", heading.lower()) for heading in headings]
    anchors = [f"{each}-{seen}" if (seen := anchors[:at].count(each)) else each for at, each in enumerate(anchors)]
    assert set(re.findall(r"\]\(#([^)]+)\)", NAMES)) <= set(anchors)


def test_what_is_refused_is_documented() -> None:
    """The table of refusals names every limit that another one cuts, and the bounds that hold."""
    refused = PAGE.split("### What is refused")[1].split("###")[0]
    for pair in CUT_BY:
        assert all(f"`{name}`" in refused for name in pair)
    assert f"above {PROXIES_MAX} |" in refused
    assert f"above {CORS_MAX_AGE_S:,} |" in refused


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    """The page shows every command of the command line."""
    assert f"`{command} " in PAGE or f"trifolio {command} " in PAGE
