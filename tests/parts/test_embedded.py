"""Answers in parts without HTTP: `Router.stream`, and a response whose later parts are read, or not."""

from contextlib import aclosing
from itertools import chain

import pytest

from tests.parts.world import World, complaints
from tests.server.wire import settle
from trifolio import Part, Response, ResponsePart
from trifolio.errors import ErrorCode
from trifolio.executor import delivery

QUERY = '{ me { name ... @defer(label: "homes") { homes { city } } ... @defer(label: "owed") { owed } } }'


async def test_a_stream_gives_part_by_part() -> None:
    """The first has what is not deferred, the others come one at a time; the last says that it is."""
    world = World()
    async with aclosing(world.router.stream(QUERY)) as stream:
        first = await anext(stream)
        assert first == ResponsePart({"me": {"name": "Ada"}}, has_next=True)
        owed = await anext(stream)
        assert owed == ResponsePart({"owed": 1}, path=("me",), label="owed", has_next=True)
        world.places.open.set()
        homes = await anext(stream)
        assert homes == ResponsePart({"homes": [{"city": "London"}]}, path=("me",), label="homes", has_next=False)
        assert await anext(stream, None) is None
    assert homes.to_json() == {"data": {"homes": [{"city": "London"}]}, "path": ["me"], "label": "homes"}


async def test_a_stream_of_one_part_is_the_answer() -> None:
    """Without @defer, for mutations and for what is refused, there is one part."""
    world = World()
    for query, data in (
        ("{ me { name } }", {"me": {"name": "Ada"}}),
        ("mutation { rename { ... @defer { name } } }", {"rename": {"name": "Ada"}}),
        ("{ nothing }", None),
    ):
        [part] = [part async for part in world.router.stream(query)]
        assert (part.data, part.has_next) == (data, False)
        assert bool(part.errors) is (data is None)


async def test_a_stream_that_is_closed_ends_its_fetches() -> None:
    """Whoever has read enough closes the generator, and nothing is fetched any more."""
    world = World()
    async with aclosing(world.router.stream(QUERY)) as stream:
        await anext(stream)
        await world.places.asked.wait()
    assert (world.in_flight, world.places.cancelled) == (0, 1)
    assert len(world.told.ended) == 1


async def test_a_stream_that_is_never_read_asks_nobody() -> None:
    """A generator that was made and closed has done nothing."""
    world = World()
    await world.router.stream(QUERY).aclose()
    assert (world.people.sent, world.told.ended) == (0, [])


async def deferred(world: World) -> Response:
    """An answer with parts to come."""
    response = await world.router.answer(QUERY, incremental=True)
    assert response.later is not None
    assert [each.label for each in response.pending] == ["homes", "owed"]
    return response


async def test_later_parts_that_nobody_reads_are_closed() -> None:
    """Closing them ends the fetches, twice is as good as once, and nothing comes after that."""
    with complaints() as found:
        world = World()
        later = (await deferred(world)).later
        assert later is not None
        await world.places.asked.wait()
        await later.aclose()
        await later.aclose()
        assert (world.in_flight, world.places.cancelled) == (0, 1)
        assert [parts async for parts in later] == []
        assert len(world.told.ended) == 1
    assert found == []


async def test_later_parts_can_be_read_to_their_end_and_closed() -> None:
    """Closing what has come to its end does nothing."""
    world = World()
    world.places.open.set()
    later = (await deferred(world)).later
    assert later is not None
    parts: list[Part] = []
    async for each in later:
        parts += each.parts
    await later.aclose()
    assert sorted(str(each.pending.label) for each in parts) == ["homes", "owed"]
    assert len(world.told.ended) == 1


async def test_without_asking_for_parts_the_answer_is_whole() -> None:
    """`execute` answers at once, whatever is deferred."""
    world = World()
    world.places.open.set()
    response = await world.router.execute(QUERY)
    assert response.data == {"me": {"name": "Ada", "homes": [{"city": "London"}], "owed": 1}}
    assert (response.pending, response.later) == ((), None)


async def test_a_refused_stream_says_why() -> None:
    """What is wrong with a deferral is refused as a document is."""
    world = World()
    [part] = [part async for part in world.router.stream("{ me { ... @defer(label: 1) { name } } }")]
    assert part.data is None
    assert part.errors[0].code is ErrorCode.GRAPHQL_VALIDATION_FAILED


async def test_parts_of_many_values_come_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are ready together come one after the other where they are large, and come to the same answer."""
    both = '{ me { name ... @defer(label: "a") { homes { city } } ... @defer(label: "b") { owed } } }'

    async def messages() -> list[list[object]]:
        world = World()
        world.places.open.set()
        response = await world.router.answer(both, incremental=True)
        assert response.later is not None
        await settle()
        return [[part.data for part in parts.parts] async for parts in response.later]

    together = await messages()
    monkeypatch.setattr(delivery, "TAKEN_VALUES", 0)
    alone = await messages()
    assert [len(each) for each in alone] == [1, 1]
    assert sorted(map(str, chain(*alone))) == sorted(map(str, chain(*together)))
