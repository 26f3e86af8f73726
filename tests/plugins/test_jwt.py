"""The plug-in that knows callers by their tokens: good ones, every known way to make a bad one, and what goes on."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plugins import token_issuers as issuers
from tests.plugins.graph import Ask, Body, Graph, People, by_execute, codes, post
from tests.plugins.http_subgraph import served
from tests.plugins.token_issuers import ISSUER, NOW, SECRET, claims, part, public_jwk, secret_token, signed, token
from tests.server.conftest import listening
from trifolio import Config, HeadersConfig, Plugin, PooledTransport, RequestContext
from trifolio.plugins.jwks import Key
from trifolio.plugins.jwt import Jwt

QUERY = "{ vault }"
GOLD = {"data": {"vault": "gold"}}
KEYS = [public_jwk(kind) for kind in ("RSA", "P-256", "P-384", "P-521", "Ed25519", "Ed448")]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class See(Plugin):
    """Notes the claims of every request."""

    def __init__(self) -> None:
        self.claims: list[Mapping[str, object] | None] = []

    async def on_request(self, request: RequestContext, /) -> None:
        self.claims.append(request.claims)


@pytest.fixture
def jwks_file(tmp_path: Path) -> Path:
    """A file with a key of each kind."""
    file = tmp_path / "jwks.json"
    file.write_bytes(issuers.jwks(*KEYS))
    return file


@pytest.fixture
def make(jwks_file: Path) -> Any:
    """Makes the plug-in, with one issuer whose keys are in the file."""

    def made(algorithms: tuple[str, ...] = ("RS256",), audiences: Any = (issuers.AUDIENCE,), **options: Any) -> Jwt:
        issuer = {
            "issuer": ISSUER,
            "jwks_file": str(jwks_file),
            "algorithms": list(algorithms),
            "audiences": audiences if audiences is None else list(audiences),
        }
        return Jwt(**{"issuers": [issuer], "clock": Clock(), **options})

    return made


def bearer(text: str) -> dict[str, str]:
    """The header with a token."""
    return {"authorization": f"Bearer {text}"}


def assert_refused(body: Body) -> None:
    """A request that was refused, with nothing but the code."""
    assert body.get("data") is None
    text = "This request needs a valid token."
    assert body["errors"] == [{"message": text, "extensions": {"code": "UNAUTHENTICATED"}}]


# ---- good tokens ----


@pytest.mark.parametrize("algorithm", [*issuers.KIND_OF])
async def test_a_good_token_is_taken(ask: Ask, make: Any, algorithm: str) -> None:
    """A token by each algorithm is verified, and its claims are the request's; PyJWT reads the same out of it."""
    see = See()
    graph = Graph(make((algorithm,)), see)
    text = token(algorithm=algorithm)
    async with graph.router:
        assert await ask(graph.router, QUERY, bearer(text)) == GOLD
    key = issuers.private_key(issuers.KIND_OF[algorithm]).public_key()
    assert see.claims == [claims()] == [issuers.reference_claims(text, key, algorithm)]


async def test_curves_of_edwards_have_one_name(make: Any) -> None:
    """EdDSA is Ed25519 and Ed448: the key's id says which."""
    plugin = make(("EdDSA",))
    text = signed({"alg": "EdDSA", "kid": "Ed448-0"}, claims(), "EdDSA", issuers.private_key("Ed448"))
    async with Graph(plugin).router as router:
        assert await by_execute(router, QUERY, bearer(text)) == GOLD


async def test_several_issuers_stay_apart(make: Any, jwks_file: Path) -> None:
    """Each token is verified with the keys, algorithms and audiences of its own issuer, and with no other's."""
    shared = {"issuer": "inside", "secret": SECRET, "algorithms": ["HS256"], "audiences": ["inner"]}
    public = {"issuer": ISSUER, "jwks_file": str(jwks_file), "algorithms": ["RS256"], "audiences": [issuers.AUDIENCE]}
    inner = claims(iss="inside", aud=["x", "inner"])
    async with Graph(Jwt([shared, public], clock=Clock())).router as router:
        assert await by_execute(router, QUERY, bearer(token())) == GOLD
        assert await by_execute(router, QUERY, bearer(secret_token(inner))) == GOLD
        for bad in (token(inner), secret_token(claims()), token(claims(aud="inner")), token(claims(iss="inside"))):
            assert_refused(await by_execute(router, QUERY, bearer(bad)))


async def test_for_whom_a_token_is_may_not_matter(make: Any) -> None:
    """With audiences of null, written out, a token needs no `aud`."""
    async with Graph(make(audiences=None)).router as router:
        assert await by_execute(router, QUERY, bearer(token(claims(aud=None)))) == GOLD
        assert await by_execute(router, QUERY, bearer(token(claims(aud="anybody")))) == GOLD


@pytest.mark.parametrize(
    ("changed", "is_good"),
    [
        ({"exp": NOW - 29}, True),
        ({"exp": NOW - 30}, False),
        ({"nbf": NOW + 30}, True),
        ({"nbf": NOW + 31}, False),
        ({"iat": NOW + 30}, True),
        ({"iat": NOW + 31}, False),
        ({"iat": None}, True),
        ({"exp": NOW + 0.5}, True),
    ],
)
async def test_clocks_may_differ_by_the_skew(make: Any, changed: dict[str, object], is_good: bool) -> None:
    """A token is good for the skew longer and sooner than it says, and not a second more."""
    async with Graph(make(clock_skew_s=30)).router as router:
        body = await by_execute(router, QUERY, bearer(token(claims(**changed))))
    assert body == GOLD if is_good else codes(body) == ["UNAUTHENTICATED"]


# ---- bad tokens ----


def _tampered(text: str) -> str:
    header, _, signature = text.split(".")
    return f"{header}.{part(claims(sub='eve'))}.{signature}"


def _respelled(text: str) -> str:
    """The same signature with other bits where base64url has some to spare: 256 bytes leave four."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def _eves(algorithm: str = "RS256", **header: object) -> str:
    """A token that Eve has signed with a key of her own."""
    return signed({"alg": algorithm, **header}, claims(), algorithm, issuers.private_key("RSA", 99))


def _confused() -> str:
    """The published key taken for a secret: the oldest attack but one."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = issuers.private_key("RSA").public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return secret_token(claims(), pem, kid="RSA-0")


NONE = {"alg": "none", "typ": "JWT"}
BAD = {
    "alg none, no signature": lambda: f"{part(NONE)}.{part(claims())}.",
    "alg none, some signature": lambda: f"{part(NONE)}.{part(claims())}.AAAA",
    "alg None": lambda: f"{part({'alg': 'None', 'kid': 'RSA-0'})}.{part(claims())}.AAAA",
    "alg null": lambda: f"{part({'alg': None, 'kid': 'RSA-0'})}.{part(claims())}.AAAA",
    "alg a list": lambda: f"{part({'alg': ['none', 'RS256'], 'kid': 'RSA-0'})}.{part(claims())}.AAAA",
    "no alg": lambda: f"{part({'kid': 'RSA-0'})}.{part(claims())}.AAAA",
    "a public key as a secret": _confused,
    "a public key's JWK as a secret": lambda: secret_token(claims(), json.dumps(public_jwk()), kid="RSA-0"),
    "an empty secret": lambda: secret_token(claims(), b"", kid="RSA-0"),
    "an algorithm that is not pinned, of the same key": lambda: token(algorithm="PS256"),
    "an algorithm that is not pinned, of another key": lambda: token(algorithm="ES256"),
    "an algorithm in other letters": lambda: signed(
        {"alg": "rs256", "kid": "RSA-0"}, claims(), "RS256", issuers.private_key("RSA")
    ),
    "another's signature": lambda: _eves(kid="RSA-0"),
    "a key of another kind": lambda: token(kid="P-256-0"),
    "a kid out of another folder": lambda: _eves(kid="../../../dev/null"),
    "a kid that asks a database": lambda: _eves(kid="x' UNION SELECT 'eve"),
    "a kid that is a URL": lambda: _eves(kid="https://eve.example.com/key"),
    "a kid that is a list": lambda: _eves(kid=["RSA-0"]),
    "a kid that is an object": lambda: _eves(kid={"RSA-0": "RSA-0"}),
    "a kid that is a number": lambda: _eves(kid=0),
    "a kid that is empty": lambda: _eves(kid=""),
    "a kid that is long": lambda: token(kid="k" * 257),
    "its own key": lambda: _eves(jwk=public_jwk("RSA", 99)),
    "its own key, by the name of ours": lambda: _eves(jwk=public_jwk("RSA", 99, kid="RSA-0"), kid="RSA-0"),
    "its own key set": lambda: _eves(jku="http://127.0.0.1:1/jwks.json", kid="RSA-99"),
    "its own certificate": lambda: _eves(x5c=["MII="], x5u="http://127.0.0.1:1/cert.pem", kid="RSA-99"),
    "critical extensions": lambda: token(crit=["exp"], exp=1),
    "an empty list of critical extensions": lambda: token(crit=[]),
    "a payload that is not encoded": lambda: token(b64=False),
    "expired": lambda: token(claims(exp=NOW - 31)),
    "no exp": lambda: token(claims(exp=None)),
    "an exp that is a text": lambda: token(claims(exp=str(int(NOW + 600)))),
    "an exp that is true": lambda: token(claims(exp=True)),
    "an exp that is a list": lambda: token(claims(exp=[NOW + 600])),
    "an exp beyond all numbers": lambda: signed(
        {"alg": "RS256", "kid": "RSA-0"},
        json.dumps(claims()).replace(str(NOW + 600), "1e999").encode(),
        "RS256",
        issuers.private_key("RSA"),
    ),
    "an exp that is no number": lambda: signed(
        {"alg": "RS256", "kid": "RSA-0"}, {**claims(), "exp": float("nan")}, "RS256", issuers.private_key("RSA")
    ),
    "not yet": lambda: token(claims(nbf=NOW + 31)),
    "an nbf that is a text": lambda: token(claims(nbf="0")),
    "issued in the future": lambda: token(claims(iat=NOW + 31)),
    "an iat that is null": lambda: token({**claims(), "iat": None}),
    "another issuer": lambda: token(claims(iss="https://login.example.com")),
    "an issuer that is a list": lambda: token(claims(iss=[ISSUER])),
    "no issuer": lambda: token(claims(iss=None)),
    "another audience": lambda: token(claims(aud="https://api.example.com/")),
    "other audiences": lambda: token(claims(aud=["a", None, 7, ["https://api.example.com"]])),
    "an audience that is an object": lambda: token(claims(aud={"https://api.example.com": True})),
    "no audience": lambda: token(claims(aud=None)),
    "tampered": lambda: _tampered(token()),
    "respelled": lambda: _respelled(token()),
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "two parts": lambda: token().rpartition(".")[0],
    "four parts": lambda: f"{token()}.AAAA",
    "encrypted": lambda: ".".join([part({"alg": "RSA-OAEP", "enc": "A256GCM"}), "AAAA", "AAAA", "AAAA", "AAAA"]),
    "padded": lambda: f"{token()}==",
    "two": lambda: f"{token()}, {token()}",
    "two with their schemes": lambda: f"{token()}, Bearer {token()}",
    "something behind it": lambda: f"{token()} x",
    "empty": lambda: "",
    "a header that is a list": lambda: signed([], claims(), "RS256", issuers.private_key("RSA")),
    "a header that is no JSON": lambda: f"{part(b'{')}.{part(claims())}.AAAA",
    "a header nested deep": lambda: f"{part(b'[' * 3000)}.{part(claims())}.AAAA",
    "claims that are a list": lambda: token([]),  # type: ignore[arg-type]  # what no issuer says
    "claims nested deep": lambda: f"{part({'alg': 'RS256', 'kid': 'RSA-0'})}.{part(b'[' * 3000)}.AAAA",
    "claims in no encoding": lambda: f"{part({'alg': 'RS256', 'kid': 'RSA-0'})}.{part(bytes([123, 255]))}.AAAA",
    "too long": lambda: token(claims(padding="x" * 8192)),
    "letters beyond ASCII": lambda: "é.é.é",
}


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_token_is_refused(make: Any, bad: Any, required: bool) -> None:
    """A bad token is a 401 with its challenge and a small body, whether tokens are required or not: never anonymous."""
    graph = Graph(make(required=required))
    async with graph.router:
        response = await _post(graph, [(b"authorization", f"Bearer {bad()}".encode("latin-1"))])
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert_refused(response.json())
    assert len(response.content) < 200
    assert graph.asked == []


async def _post(graph: Graph, headers: list[tuple[bytes, bytes]], path: str = "/graphql") -> httpx.Response:
    transport = httpx.ASGITransport(graph.router.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://router", trust_env=False) as client:
        return await client.post(path, json={"query": QUERY}, headers=headers)


async def test_a_refusal_tells_nothing_of_the_token(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the answer nor the log has anything out of a bad token."""
    text = token(claims(sub="ada-lovelace", exp=1))
    graph = Graph(make())
    async with graph.router:
        response = await _post(graph, [(b"authorization", f"Bearer {text}".encode())])
    shown = response.text + str(response.headers) + caplog.text
    assert not [piece for piece in (*text.split("."), "ada-lovelace", "expired", ISSUER) if piece in shown]


# ---- where tokens are ----


async def test_two_headers_are_one_too_many(make: Any) -> None:
    """Two Authorization headers are refused, even where both are the same."""
    field = (b"authorization", f"Bearer {token()}".encode())
    graph = Graph(make(required=False))
    async with graph.router:
        assert (await _post(graph, [field])).status_code == 200
        assert (await _post(graph, [field, field])).status_code == 401
        assert (await _post(graph, [field, (b"Authorization", b"Bearer x")])).status_code == 401


@pytest.mark.parametrize("required", [True, False])
async def test_no_token_is_anonymous_where_tokens_are_not_required(ask: Ask, make: Any, required: bool) -> None:
    """Without a token a request is refused, or anonymous, as the operator says; the challenge names no error."""
    see = See()
    graph = Graph(make(required=required), see)
    async with graph.router:
        body = await ask(graph.router, QUERY)
        response = await _post(graph, [])
    if required:
        assert_refused(body)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert see.claims == []
    else:
        assert body == GOLD
        assert see.claims == [None, None]


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "bearer ", "", "Bearer\tx", "Token x", "x", "BearerX y"])
async def test_what_is_no_bearer_token_is_a_bad_one(make: Any, value: str) -> None:
    """A header of another scheme, or without a token, is refused where tokens are not required, too."""
    async with Graph(make(required=False)).router as router:
        assert_refused(await by_execute(router, QUERY, {"authorization": value}))


async def test_the_scheme_is_taken_in_any_case(make: Any) -> None:
    """The scheme's name has no case (RFC 9110, section 11.1), and spaces may follow."""
    async with Graph(make()).router as router:
        for scheme in ("bearer", "BEARER", "Bearer "):
            assert await by_execute(router, QUERY, {"authorization": f"{scheme} {token()}"}) == GOLD


async def test_a_token_in_the_url_or_body_is_none(make: Any) -> None:
    """A token in the query string or the body is not looked at: such a request has none (RFC 6750, section 5.3)."""
    graph = Graph(make())
    async with graph.router:
        assert (await _post(graph, [], f"/graphql?access_token={token()}")).status_code == 401
        body = await post(graph.router, QUERY, access_token=token(), extensions={"authorization": f"Bearer {token()}"})
        assert body.status_code == 401


async def test_header_and_prefix_can_be_others(make: Any) -> None:
    """The token can be in another header, after another word or none; Authorization then means nothing."""
    async with Graph(make(header="X-Token", prefix="")).router as router:
        assert await by_execute(router, QUERY, {"x-token": token(), "authorization": "Basic x"}) == GOLD
        assert_refused(await by_execute(router, QUERY, bearer(token())))
        assert_refused(await by_execute(router, QUERY, {"x-token": f"Bearer {token()}"}))
    async with Graph(make(prefix="JWT")).router as router:
        assert await by_execute(router, QUERY, {"authorization": f"JWT {token()}"}) == GOLD
        assert_refused(await by_execute(router, QUERY, bearer(token())))


async def test_cookies_are_off_by_default(make: Any) -> None:
    """A cookie is looked at only where it is named; a token twice, or there and in the header, is refused."""
    cookie = {"cookie": f"theme=dark; session={token()}"}
    async with Graph(make()).router as router:
        assert_refused(await by_execute(router, QUERY, cookie))
    async with Graph(make(cookie="session", required=False)).router as router:
        assert await by_execute(router, QUERY, cookie) == GOLD
        assert await by_execute(router, QUERY, {"cookie": "theme=dark; Session=x; mysession=x"}) == GOLD
        for bad in (
            {"cookie": f"session={token()}; session={token()}"},
            {**cookie, **bearer(token())},
            {"cookie": "session="},
            {"cookie": "session"},
        ):
            assert_refused(await by_execute(router, QUERY, bad))


# ---- claims as headers ----

MAPPED = {"sub": "x-user-id", "tenant": "X-Tenant", "roles": "x-roles", "admin": "x-admin"}


async def _sent(make: Any, headers: Mapping[str, str], **options: Any) -> dict[str, str]:
    """What a subgraph over HTTP gets that is asked everything a client may say, out of what the plug-in maps."""
    spellings = ("x-user-id", "x_user_id", "x-user_id", "x.user.id", "x-tenant", "x_tenant", "x-roles", "x-admin")
    config = Config(headers=HeadersConfig(forward=("authorization", "x-other", *spellings)))
    async with served(People().schema) as people:
        transport = PooledTransport(people.url, forward_headers=config.headers.forward)
        plugin = make(claims=MAPPED, required=False, **options)
        async with Graph(plugin, config=config, transports={"people": transport}).router as router:
            assert await by_execute(router, QUERY, headers) == GOLD
    return {name: value for name, value in people.received[0].headers.items() if name.startswith("x")}


FORGED = {
    "X-User-Id": "eve",
    "x_user_id": "eve",
    "X-User_ID": "eve",
    "x.user.id": "eve",
    "x-tenant": "eve",
    "X_TENANT": "eve",
    "x-roles": "eve",
    "x-admin": "true",
    "x-other": "kept",
}


async def test_mapped_claims_go_to_the_subgraphs(make: Any) -> None:
    """Mapped claims go on as headers, whatever is forwarded: texts as they are, everything else as JSON."""
    said = claims(tenant="acme", roles=["buy", "sell"], admin=False)
    sent = await _sent(make, {**FORGED, **bearer(token(said))})
    assert sent == {
        "x-user-id": "ada",
        "x-tenant": "acme",
        "x-roles": '["buy","sell"]',
        "x-admin": "false",
        "x-other": "kept",
    }


async def test_mapped_headers_of_clients_are_dropped(make: Any) -> None:
    """No spelling of a mapped header gets through from a client: without a token, nor where the token lacks a claim."""
    assert await _sent(make, FORGED) == {"x-other": "kept"}
    lacking = token(claims(sub=None, tenant="", roles=None))
    assert await _sent(make, {**FORGED, **bearer(lacking)}) == {"x-other": "kept"}
    assert await _sent(make, {**FORGED, **bearer(token({**claims(), "tenant": None}))}) == {
        "x-user-id": "ada",
        "x-other": "kept",
    }


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("ada", "ada"),
        ("a b", "a b"),
        (" ada", '" ada"'),
        ("ada\r\nx-admin: true", '"ada\\r\\nx-admin: true"'),
        ("Zoë", '"Zo\\u00eb"'),
        ('"ada"', '"\\"ada\\""'),
        ("ada\0", '"ada\\u0000"'),
        (7, "7"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
    ],
)
async def test_no_claim_becomes_another_header(make: Any, claim: object, value: str) -> None:
    """What would not arrive as it is goes as JSON: no claim leaves its header, and no two texts look the same."""
    sent = await _sent(make, bearer(token(claims(sub=claim))))
    assert sent == {"x-user-id": value}


async def test_mapped_headers_reach_subgraphs_in_memory(ask: Ask, make: Any) -> None:
    """A subgraph in this process gets the claim, and never what the client said in its place."""
    graph = Graph(make(claims=MAPPED, required=False))
    query = '{ header(name: "x-user-id") other: header(name: "x_user_id") }'
    async with graph.router:
        forged = {"X-User-Id": "eve", "x_user_id": "eve"}
        assert await ask(graph.router, query, {**forged, **bearer(token())}) == {
            "data": {"header": "ada", "other": None}
        }
        assert await ask(graph.router, query, forged) == {"data": {"header": None, "other": None}}


# ---- tokens that are remembered ----


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for every signature that is looked at."""
    seen: list[str] = []
    verifies = Key.verifies

    def counted(self: Key, algorithm: str, signed: bytes, signature: bytes) -> bool:
        seen.append(algorithm)
        return verifies(self, algorithm, signed, signature)

    monkeypatch.setattr(Key, "verifies", counted)
    return seen


async def test_a_verified_token_is_remembered(make: Any, verifications: list[str]) -> None:
    """A good token is verified once, and until it expires; a bad one every time."""
    clock = Clock()
    plugin = make(clock=clock, clock_skew_s=0)
    good, bad = token(claims(exp=NOW + 100)), _eves(kid="RSA-0")
    async with Graph(plugin).router as router:
        for _ in range(3):
            assert await by_execute(router, QUERY, bearer(good)) == GOLD
        assert len(verifications) == 1
        clock.now = NOW + 100
        assert_refused(await by_execute(router, QUERY, bearer(good)))
        for _ in range(2):
            assert_refused(await by_execute(router, QUERY, bearer(bad)))
        assert len(verifications) == 3


async def test_what_is_remembered_is_bounded(make: Any, verifications: list[str]) -> None:
    """Tokens are remembered up to a number and up to a size, those that were used last."""
    texts = [token(claims(sub=f"user-{number}")) for number in range(4)]
    many = make(limits={"remembered_tokens_max": 2})
    async with Graph(many).router as router:
        for index in (0, 1, 0, 2, 0, 1):
            await by_execute(router, QUERY, bearer(texts[index]))
    assert len(verifications) == 4
    verifications.clear()
    large = make(limits={"remembered_bytes_max": 1300})
    async with Graph(large).router as router:
        for index in (0, 1, 0, 1):
            await by_execute(router, QUERY, bearer(texts[index]))
        assert len(verifications) == 2
        for index in (2, 3, 0, 1):
            await by_execute(router, QUERY, bearer(texts[index]))
    assert len(verifications) == 6


async def test_claims_are_each_requests_own(make: Any) -> None:
    """What a plug-in does to the claims of one request, the next one with the same token does not see."""
    seen: list[str] = []

    class Spoil(Plugin):
        async def on_request(self, request: RequestContext, /) -> None:
            assert isinstance(request.claims, dict)
            seen.append(json.dumps(request.claims))
            request.claims["sub"] = "eve"
            request.claims["roles"].append("admin")

    async with Graph(make(), Spoil()).router as router:
        for _ in range(2):
            await by_execute(router, QUERY, bearer(token(claims(roles=["buy"]))))
    assert [json.loads(each) for each in seen] == [claims(roles=["buy"])] * 2


async def test_many_callers_at_once(make: Any) -> None:
    """Requests at the same time each have their own caller."""
    query = '{ header(name: "x-user-id") }'
    async with Graph(make(claims=MAPPED)).router as router:
        names = [f"user-{number % 7}" for number in range(50)]
        bodies = await asyncio.gather(*(by_execute(router, query, bearer(token(claims(sub=name)))) for name in names))
    assert [body["data"]["header"] for body in bodies] == names


async def test_the_way_over_a_socket(make: Any) -> None:
    """Over HTTP on a real socket the refusal has its status, and a good token its answer."""
    graph = Graph(make())
    async with listening(graph.router.asgi()) as url, httpx.AsyncClient(trust_env=False) as client:
        for headers, status in ((bearer(token()), 200), (bearer(_confused()), 401), ({}, 401)):
            response = await client.post(f"{url}/graphql", json={"query": QUERY}, headers=headers)
            assert response.status_code == status
