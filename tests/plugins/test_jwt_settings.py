"""The plug-in's options: out of `router.yaml` and in Python, and every one that is refused."""

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.graph import Graph, by_execute, codes, supergraph
from tests.plugins.token_issuers import SECRET, jwks, public_jwk, secret_token
from trifolio import ConfigError, LocalTransport, Router, parse_config
from trifolio.limits import JwtLimits
from trifolio.plugins import jwks as jwks_module
from trifolio.plugins.jwt import Jwt, JwtIssuer

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_every_limit_is_documented_with_its_default() -> None:
    """The page's table has each limit of the plug-in by name, with the default that holds."""
    for limit in fields(JwtLimits):
        assert f"| `{limit.name}` | {limit.default:,} | " in PAGE


def test_every_option_is_documented() -> None:
    """The page names every option of the plug-in and of an issuer."""
    options = [name for name in inspect.signature(Jwt).parameters if name not in {"clock", "timer"}]
    for name in (*options, *(each.name for each in fields(JwtIssuer))):
        assert f"| `{name}` | " in PAGE, name


async def test_the_pages_settings_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example on the page is a valid router.yaml, whose plug-in refuses who has no token."""
    text = PAGE.split("### Callers by their tokens")[1].split("```yaml\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "batch.json").write_bytes(jwks(public_jwk("Ed25519")))
    environment = {"GATEWAY_SECRET": SECRET}
    config = parse_config(text, name="router.yaml", folder=tmp_path, environment=environment)
    assert config.plugins[0].python == "trifolio.plugins.jwt:Jwt"
    router = Router(supergraph(), config=config)
    [life] = router._hooks._lives  # type: ignore[union-attr]  # it has a plug-in
    assert life.name == "Jwt"
    assert life.on_start is not None
    await router.close()


async def test_options_come_from_router_yaml(tmp_path: Path) -> None:
    """The plug-in that a router.yaml names does what one made in Python does."""
    text = """
plugins:
  - python: trifolio.plugins.jwt:Jwt
    required: false
    clock_skew_s: 0
    claims: {sub: x-user-id}
    limits: {token_bytes_max: 1000}
    issuers:
      - {issuer: inside, secret: "${SECRET}", algorithms: [HS256], audiences: null}
"""
    config = parse_config(text, name="router.yaml", folder=tmp_path, environment={"SECRET": SECRET})
    people = Graph().people.schema
    async with Router(supergraph(), config=config, transports={"people": LocalTransport(people)}) as router:
        query = '{ header(name: "x-user-id") }'
        good = secret_token({"iss": "inside", "exp": 10**11, "sub": "ada"})
        assert await by_execute(router, query, {"authorization": f"Bearer {good}"}) == {"data": {"header": "ada"}}
        assert await by_execute(router, query) == {"data": {"header": None}}
        long = secret_token({"iss": "inside", "exp": 10**11, "sub": "a" * 1000})
        assert codes(await by_execute(router, query, {"authorization": f"Bearer {long}"})) == ["UNAUTHENTICATED"]


ISSUER: dict[str, Any] = {
    "issuer": "a",
    "jwks_url": "https://a.example.com/jwks.json",
    "algorithms": ["RS256"],
    "audiences": ["b"],
}
SECRETIVE: dict[str, Any] = {"issuer": "a", "secret": SECRET, "algorithms": ["HS256"], "audiences": ["b"]}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no issuers": ({"issuers": []}, "issuers is empty"),
    "an issuer that is no mapping": ({"issuers": ["a"]}, r"issuers\[0\]: an issuer has to be a mapping"),
    "issuers that are no list": ({"issuers": ISSUER}, "issuers has to be a list"),
    "an unknown key": ({"issuers": [{**ISSUER, "jwks": "x"}]}, r"issuers\[0\]: an issuer: unknown key 'jwks'; known"),
    "no audiences": ({"issuers": [{k: v for k, v in ISSUER.items() if k != "audiences"}]}, "argument: 'audiences'"),
    "no audience": ({"issuers": [{**ISSUER, "audiences": []}]}, "audiences is empty"),
    "audiences that are a text": ({"issuers": [{**ISSUER, "audiences": "b"}]}, "audiences has to be a list"),
    "an audience that is no text": ({"issuers": [{**ISSUER, "audiences": [1]}]}, "audiences: each has to be a text"),
    "an issuer without a name": ({"issuers": [{**ISSUER, "issuer": ""}]}, "issuer: each has to be a text"),
    "an issuer twice": ({"issuers": [ISSUER, SECRETIVE]}, r"issuers\[1\]: 'a' stands here twice"),
    "no algorithm": ({"issuers": [{**ISSUER, "algorithms": []}]}, "algorithms is empty; known: ES256"),
    "none": ({"issuers": [{**ISSUER, "algorithms": ["none"]}]}, "'none' is no algorithm for published keys"),
    "an unknown algorithm": ({"issuers": [{**ISSUER, "algorithms": ["RS1"]}]}, "'RS1' is no algorithm"),
    "a secret's algorithm for published keys": (
        {"issuers": [{**ISSUER, "algorithms": ["RS256", "HS256"]}]},
        "'HS256' is no algorithm for published keys",
    ),
    "a published key's algorithm for a secret": (
        {"issuers": [{**SECRETIVE, "algorithms": ["HS256", "RS256"]}]},
        "'RS256' is no algorithm for a secret",
    ),
    "none with a secret": ({"issuers": [{**SECRETIVE, "algorithms": ["none"]}]}, "'none' is no algorithm"),
    "keys from two places": ({"issuers": [{**ISSUER, "secret": SECRET}]}, "exactly one of jwks_url, jwks_file, secret"),
    "keys from nowhere": ({"issuers": [{**ISSUER, "jwks_url": None}]}, "exactly one of"),
    "a short secret": ({"issuers": [{**SECRETIVE, "secret": "s" * 31}]}, "HS256 has at least 32 bytes"),
    "a secret that is too short for one of its algorithms": (
        {"issuers": [{**SECRETIVE, "secret": "s" * 63, "algorithms": ["HS256", "HS512"]}]},
        "at least 64 bytes",
    ),
    "a public key as a secret": (
        {"issuers": [{**SECRETIVE, "secret": '{"kty": "RSA", "n": "' + "A" * 64 + '"}'}]},
        "the secret is a public key",
    ),
    "an empty secret": ({"issuers": [{**SECRETIVE, "secret": ""}]}, "each has to be a text"),
    "a URL of files": ({"issuers": [{**ISSUER, "jwks_url": "file:///etc/passwd"}]}, "the keys cannot be fetched"),
    "a URL of nothing": ({"issuers": [{**ISSUER, "jwks_url": "a.example.com"}]}, "the keys cannot be fetched"),
    "a text for a switch": ({"required": "no"}, "required has to be a bool"),
    "a header that is none": ({"header": "x y"}, "header: 'x y' is no name"),
    "a cookie that is none": ({"cookie": "a=b"}, "cookie: 'a=b' is no name"),
    "a prefix with a space": ({"prefix": "Bearer "}, "prefix: 'Bearer ' is no scheme"),
    "a skew below nothing": ({"clock_skew_s": -1}, "clock_skew_s has to be from 0 to 300"),
    "a skew of an hour": ({"clock_skew_s": 3600}, "clock_skew_s has to be from 0 to 300"),
    "a clock out of a file": ({"clock": 5}, "clock and timer are functions"),
    "claims that are a list": ({"claims": ["sub"]}, "claims has to be a mapping"),
    "a claim's header that is none": ({"claims": {"sub": "x y"}}, "claims.sub: 'x y' is no name"),
    "two claims in one header": ({"claims": {"sub": "x-id", "oid": "X_Id"}}, "claims.oid: 'x_id' is taken"),
    "a claim in the token's header": ({"claims": {"sub": "Authorization"}}, "claims.sub: 'authorization' is taken"),
    "a claim in the router's header": ({"claims": {"sub": "x_router_secret"}}, "'x_router_secret' is taken"),
    "a claim in the connection's header": ({"claims": {"sub": "content-length"}}, "'content-length' is taken"),
    "a limit of nothing": ({"limits": {"token_bytes_max": 0}}, "limits.token_bytes_max has to be at least 1"),
    "an unknown limit": ({"limits": {"token_bytes": 1}}, "limits: unknown key 'token_bytes'; known: token_bytes_max"),
    "a limit that is a text": ({"limits": {"token_bytes_max": "9"}}, "limits.token_bytes_max has to be a int"),
    "limits that are a list": ({"limits": [1]}, "limits has to be a mapping"),
    "a refresh that never comes": ({"limits": {"jwks_stale_ms": 1000}}, "jwks_refresh_ms is never reached"),
}


@pytest.mark.parametrize(("options", "text"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(options: dict[str, Any], text: str) -> None:
    """An option that cannot be is a ConfigError that names it, and shows no secret."""
    with pytest.raises(ConfigError, match=text) as raised:
        Jwt(**{"issuers": [ISSUER], **options})
    assert "ssss" not in str(raised.value)


def test_a_secret_is_not_shown() -> None:
    """The text of an issuer does not have its secret."""
    assert SECRET not in repr(JwtIssuer("a", ["HS256"], None, secret=SECRET))


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_without_the_libraries_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    """Where PyJWT or cryptography is not installed, the settings' line is told with what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"jwt", "cryptography"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    jwks_module.implementations.cache_clear()
    issuer = "{issuer: a, jwks_file: b, algorithms: [RS256], audiences: null}"
    text = f"plugins:\n- python: trifolio.plugins.jwt:Jwt\n  issuers: [{issuer}]"
    config = parse_config(text, name="router.yaml", folder=tmp_path, environment={})
    try:
        with pytest.raises(ConfigError) as raised:
            Router(supergraph(), config=config)
    finally:
        jwks_module.implementations.cache_clear()
    assert str(raised.value) == (
        "router.yaml:2: trifolio.plugins.jwt:Jwt: issuers[0]: it needs PyJWT and cryptography; install trifolio[jwt]"
    )


def test_the_plugins_module_loads_no_library() -> None:
    """Importing the plug-in needs no PyJWT: only making one does."""
    code = "import sys, trifolio.plugins.jwt; print('jwt' in sys.modules, 'cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
