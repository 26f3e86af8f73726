"""Where the SDL of a subgraph comes from: a file, a running subgraph, a text, or a schema object in Python.

Specification: Apollo Federation subgraph specification, `Query._service`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from graphql import GraphQLSchema, graphql_sync

from trifolio.command.schemas import import_schema
from trifolio.config import CompositionConfig, SchemaSource
from trifolio.errors import ConfigError

SDL_BYTES_MAX: Final = 20_000_000
"""20 MB of SDL: the largest real subgraphs have about one."""
SDL_TIMEOUT_S: Final = 10.0
"""10 s for a running subgraph to print its schema: it is asked at start, by a person or a deployment that waits."""

_SDL_OPERATION: Final = "query SubgraphSdl { _service { sdl } }"


@dataclass(frozen=True, slots=True)
class Sdls:
    """The SDL of every subgraph that has one to give, and what was wrong with the others, by subgraph name."""

    texts: Mapping[str, str]
    problems: Mapping[str, str]


def read_sdls(config: CompositionConfig, folder: Path) -> Sdls:
    """Read the SDL of every subgraph; one that cannot be read does not keep the others from being read."""
    texts, problems = {}, {}
    for name, subgraph in config.subgraphs.items():
        try:
            texts[name] = read_sdl(subgraph.schema, folder)
        except ConfigError as error:
            problems[name] = error.message
    return Sdls(texts, problems)


def read_sdl(source: SchemaSource, folder: Path, *, timeout_s: float = SDL_TIMEOUT_S) -> str:
    """The SDL that `source` points to; relative files start at `folder`. Raises ConfigError."""
    if source.file is not None:
        return _from_file(folder / source.file)
    if source.subgraph_url is not None:
        return _from_running_subgraph(source.subgraph_url, dict(source.introspection_headers), timeout_s)
    if source.python is not None:
        return sdl_of_schema(import_schema(source.python, folder), source.python)
    assert source.sdl is not None
    return source.sdl


def _from_file(path: Path) -> str:
    try:
        if path.stat().st_size > SDL_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {SDL_BYTES_MAX:,} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _from_running_subgraph(url: str, headers: dict[str, str], timeout_s: float) -> str:
    try:
        with (
            httpx.Client(timeout=timeout_s, trust_env=False) as client,
            client.stream("POST", url, json={"query": _SDL_OPERATION}, headers=headers) as response,
        ):
            body = _bounded(response, url)
    except httpx.HTTPError as error:
        raise ConfigError(f"{url} cannot be asked for its SDL: {str(error) or type(error).__name__}") from error
    if not response.is_success:
        raise ConfigError(f"{url} answered the question for its SDL with HTTP status {response.status_code}")
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise ConfigError(f"{url} answered the question for its SDL with something that is not JSON") from None
    return _sdl_of_answer(answer, url)


def answers(url: str, timeout_s: float) -> bool:
    """Whether something listens at a URL. What listens and is slow, or answers with an error, is there."""
    try:
        with httpx.Client(timeout=timeout_s, trust_env=False) as client:
            client.post(url, json={"query": "{ __typename }"})
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return False
    except (httpx.HTTPError, httpx.InvalidURL):
        return True
    return True


def _bounded(response: httpx.Response, url: str) -> bytes:
    chunks = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > SDL_BYTES_MAX:
            raise ConfigError(f"{url} answered with more than {SDL_BYTES_MAX:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _sdl_of_answer(answer: Any, where: str) -> str:
    try:
        sdl = answer["data"]["_service"]["sdl"]
    except (KeyError, TypeError):
        sdl = None
    if not isinstance(sdl, str):
        raise ConfigError(f"{where} does not answer _service {{ sdl }}; is it a federation subgraph?")
    return sdl


def sdl_of_schema(schema: object, where: str) -> str:
    """The SDL of a schema object, or the text itself; `where` stands in errors. Raises ConfigError."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, GraphQLSchema):
        return _sdl_of_answer({"data": graphql_sync(schema, _SDL_OPERATION).data}, where)
    as_str: Callable[[], str] | None = getattr(schema, "as_str", None)
    if as_str is None:
        raise ConfigError(f"{where} is a {type(schema).__name__}; name a schema object or a text of SDL")
    return as_str()
