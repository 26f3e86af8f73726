"""docs/router.md says what the code says."""

from dataclasses import fields
from pathlib import Path

import pytest

from trifolio.config import Config, CorsConfig, HeadersConfig, OverrideConfig, SubgraphConfig, parse_config
from trifolio.errors import ErrorCode
from trifolio.limits import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "router.md").read_text()


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
    for cls in (Config, SubgraphConfig, HeadersConfig, CorsConfig, OverrideConfig):
        for each in fields(cls):
            assert f"{each.name}:" in example
    config = parse_config(example, name="example", folder=tmp_path, environment={"USERS_ROUTER_SECRET": "s"})
    assert config.limits == Limits()
    assert (config.introspection, config.explorer, config.csrf_protection, config.access_log) == (True,) * 4
    assert (config.cors.allow_headers, config.cors.max_age_s) == (CorsConfig().allow_headers, CorsConfig().max_age_s)
