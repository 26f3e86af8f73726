"""Who gets an answer in parts, and in which format; everybody else gets one answer."""

import pytest

from tests.parts.world import DEFER, INCREMENTAL, serving, whole
from trifolio.server.http import negotiate_parts
from trifolio.server.multipart import PartsFormat

OLD, NEW = PartsFormat.DEFER_20220824, PartsFormat.INCREMENTAL_0_2
ACCEPTED: dict[str, PartsFormat | None] = {
    "": None,
    "*/*": None,
    "multipart/*": None,
    "multipart/*;deferSpec=20220824": None,
    "application/json": None,
    "multipart/mixed": None,
    "multipart/mixed;deferSpec=20990101": None,
    "multipart/mixed;incrementalSpec=v0.1": None,
    "multipart/mixed;subscriptionSpec=1.0": None,
    "multipart/mixed;deferSpec=20220824": OLD,
    "multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json": OLD,
    "application/json, multipart/mixed; deferSpec=20220824": OLD,
    'multipart/mixed;deferSpec="20220824"': OLD,
    "MULTIPART/Mixed ; DEFERSPEC=20220824": OLD,
    'multipart/mixed;boundary="graphql";deferSpec=20220824': OLD,
    "multipart/mixed;deferSpec=20220824;q=0.1, */*": OLD,
    "multipart/mixed;incrementalSpec=v0.2": NEW,
    'multipart/mixed;incrementalSpec="v0.2", application/json': NEW,
    "multipart/mixed;incrementalspec=V0.2": NEW,
    "multipart/mixed;deferSpec=20220824;q=0": None,
    "multipart/mixed;deferSpec=20220824;q=0.0, multipart/mixed;incrementalSpec=v0.2;q=0.001": NEW,
    "multipart/mixed;deferSpec=20220824;q=0.5, multipart/mixed;incrementalSpec=v0.2": NEW,
    "multipart/mixed;incrementalSpec=v0.2;q=0.5, multipart/mixed;deferSpec=20220824;q=0.9": OLD,
    "multipart/mixed;deferSpec=20220824, multipart/mixed;incrementalSpec=v0.2": OLD,
    "multipart/mixed;incrementalSpec=v0.2, multipart/mixed;deferSpec=20220824": NEW,
    "multipart/mixed;deferSpec=20220824;q=high": None,
    "multipart/mixed;q=;deferSpec=20220824": None,
    "multipart/mixed;;deferSpec=20220824;": OLD,
    ",,;=,multipart/mixed;deferSpec=20220824": OLD,
}


@pytest.mark.parametrize(("accept", "expected"), ACCEPTED.items())
def test_the_format_is_what_accept_asks_for_by_name(accept: str, expected: PartsFormat | None) -> None:
    """A format is named by its parameter; of two the one that is wanted more, then the one that stands first."""
    assert negotiate_parts(accept) is expected


PART = "... @defer { homes { city } }"
PLAIN = {
    "no @defer": "{ me { name } }",
    "if: false": "{ me { name ... @defer(if: false) { homes { city } } } }",
    "if: $off": "query ($off: Boolean = false) { me { name ... @defer(if: $off) { homes { city } } } }",
    "a mutation": f"mutation {{ rename {{ name {PART} }} }}",
    "a null object": f"{{ nobody {{ name {PART} }} }}",
    "a fragment that is not included": "{ me { name ... @defer @include(if: false) { homes { city } } } }",
    "what is there anyway": "{ me { name homes { city } ... @defer { homes { city } } } }",
    "a refused operation": f"{{ me {{ nothing {PART} }} }}",
}


@pytest.mark.parametrize("query", PLAIN.values(), ids=PLAIN)
async def test_an_answer_of_one_part_is_an_ordinary_one(query: str) -> None:
    """Where nothing comes later, the answer is JSON with its length, and has nothing of parts in it."""
    async with serving() as served:
        served.world.places.open.set()
        response = await served.post(query)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.json().keys() <= {"data", "errors"}


@pytest.mark.parametrize("accept", ["multipart/mixed;deferSpec=20220824", "multipart/mixed;incrementalSpec=v0.2"])
@pytest.mark.parametrize("query", PLAIN.values(), ids=PLAIN)
async def test_who_takes_nothing_else_gets_one_part(query: str, accept: str) -> None:
    """A client that reads multipart alone gets its one answer as the only part."""
    async with serving() as served:
        served.world.places.open.set()
        response = await served.post(query, accept=accept)
        [part] = whole(response.content, response.headers["content-type"])
        plain = await served.post(query)
    assert part == {**plain.json(), "hasNext": False}


@pytest.mark.parametrize("accept", [DEFER, INCREMENTAL])
async def test_a_deferral_by_a_variable_comes_later(accept: str) -> None:
    """`if: $on` is decided by each request's variables, whatever an earlier request had."""
    query = "query ($on: Boolean!) { me { name ... @defer(if: $on) { homes { city } } } }"
    async with serving() as served:
        served.world.places.open.set()
        for on in (True, False, True):
            response = await served.post(query, accept=accept, variables={"on": on})
            assert response.headers["content-type"].startswith("multipart/mixed") is on


@pytest.mark.parametrize("accept", ["multipart/mixed", "multipart/mixed;deferSpec=20220824;q=0", "multipart/*"])
async def test_a_multipart_that_is_not_named_is_not_acceptable(accept: str) -> None:
    """A client that takes no format of ours, and no JSON, is told so."""
    async with serving() as served:
        response = await served.post(PLAIN["no @defer"], accept=accept)
    assert response.status_code == 406


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/graphql-response+json", "multipart/mixed, */*"]
)
async def test_everybody_else_gets_one_answer(accept: str) -> None:
    """A client that does not ask for parts gets all at once."""
    async with serving() as served:
        served.world.places.open.set()
        response = await served.post("{ me { name ... @defer { homes { city } } } }", accept=accept)
    assert response.json() == {"data": {"me": {"name": "Ada", "homes": [{"city": "London"}]}}}
