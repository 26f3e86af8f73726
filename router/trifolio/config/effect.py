"""Settings that could not do anything: what router.yaml says in one place and takes back in another.

Only what is written counts. A default that another setting cuts short is as it should be, and a written value that is
the default asks for nothing that does not hold anyhow.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from trifolio.config.forms import Key, Mistake
from trifolio.config.values import Config, CorsConfig, MetricsConfig
from trifolio.limits import Limits

Written = Mapping[Key, Any]
"""What a file says, by key; a value that could not be read is equal to nothing, and of no type that is asked for."""

CUT_BY: Final = (
    ("fetch_timeout_ms", "operation_timeout_ms"),
    ("fetch_connect_timeout_ms", "operation_timeout_ms"),
    ("operation_timeout_ms", "request_timeout_ms"),
    ("requests_in_flight_max", "connections_max"),
    ("connections_per_address_max", "connections_max"),
    ("header_count_max", "header_bytes_max"),
    ("document_tokens_max", "document_bytes_max"),
    ("document_depth_max", "document_tokens_max"),
    ("operation_aliases_max", "document_tokens_max"),
    ("operation_root_fields_max", "operation_selections_max"),
    ("long_computations_max", "computations_max"),
    ("plan_cache_entries_max", "plan_cache_bytes_max"),
)
"""Limits, and those that are reached before them where they are smaller: a token has a byte, an alias has a token."""


def settings_without_effect(written: Written) -> Iterator[Mistake]:
    """What a router.yaml says in vain; every mistake's key starts at the top."""
    yield from _limits(written)
    yield from _subgraphs(written)
    yield from _cors(written)
    yield from _explorer(written)
    yield from _metrics(written)
    yield from _sharing(written)


def _limit(written: Written, name: str) -> Any:
    return written.get(("limits", name), getattr(Limits(), name))


def _limits(written: Written) -> Iterator[Mistake]:
    for name, cutter in CUT_BY:
        yield from _cut(("limits", name), written.get(("limits", name)), cutter, _limit(written, cutter))
    connect = written.get(("limits", "fetch_connect_timeout_ms"))
    fetches = [_limit(written, "fetch_timeout_ms"), *(value for _, value in _of_subgraphs(written, "timeout_ms"))]
    if all(type(each) is int for each in (connect, *fetches)) and connect <= _limit(written, "operation_timeout_ms"):
        yield from _cut(("limits", "fetch_connect_timeout_ms"), connect, "fetch_timeout_ms", max(fetches))


def _subgraphs(written: Written) -> Iterator[Mistake]:
    for key, timeout_ms in _of_subgraphs(written, "timeout_ms"):
        yield from _cut(key, timeout_ms, "operation_timeout_ms", _limit(written, "operation_timeout_ms"))
    for key, names in _of_subgraphs(written, "forward_headers"):
        url = written.get((*key[:-1], "url"))
        if isinstance(url, str) and isinstance(names, tuple) and _has_user(url):
            for index, name in enumerate(names):
                if name.lower() == "authorization":
                    yield Mistake(
                        f"{name!r} is never forwarded, the URL's user goes in its place",
                        "remove one of the two",
                        (*key, index),
                    )


def _has_user(url: str) -> bool:
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:  # it is no URL, which is said where it stands
        return False


def _of_subgraphs(written: Written, name: str) -> list[tuple[Key, Any]]:
    """What is written under that name at every subgraph; null is what leaving the key out is."""
    return [
        (key, value)
        for key, value in written.items()
        if len(key) == 3 and key[0] == "subgraphs" and key[2] == name and value is not None
    ]


def _cut(key: Key, value: Any, cutter: str, bound: Any) -> Iterator[Mistake]:
    if type(value) is int and type(bound) is int and value > bound:
        yield Mistake(
            f"{value:,} is never reached, limits.{cutter} is {bound:,}", f"lower it, or raise limits.{cutter}", key
        )


def _cors(written: Written) -> Iterator[Mistake]:
    if written.get(("cors", "origins"), ()) != ():
        return
    defaults = CorsConfig()
    for name in ("credentials", "allow_headers", "expose_headers", "max_age_s"):
        if written.get(("cors", name), getattr(defaults, name)) != getattr(defaults, name):
            yield Mistake(
                "does nothing without cors.origins", "list the origins that may call, or remove it", ("cors", name)
            )


def _metrics(written: Written) -> Iterator[Mistake]:
    host = written.get(("metrics", "host"))
    if written.get(("metrics", "port")) is None and isinstance(host, str) and host != MetricsConfig().host:
        yield Mistake("does nothing without metrics.port", "name the port, or remove it", ("metrics", "host"))


def _sharing(written: Written) -> Iterator[Mistake]:
    if written.get(("sharing", "queries")) is True and any(key[0] == "plugins" for key in written):
        yield Mistake("does nothing with plug-ins, which see every request", "remove it", ("sharing", "queries"))


def _explorer(written: Written) -> Iterator[Mistake]:
    title, examples = written.get(("explorer_title",)), written.get(("explorer_examples",))
    if written.get(("explorer",), Config().explorer) is False:
        for key, value in (("explorer_title", title), ("explorer_examples", examples)):
            if isinstance(value, str | Path) and value != Config().explorer_title:
                yield Mistake("does nothing unless explorer is true", "set explorer: true, or remove it", (key,))
    elif isinstance(examples, Path):
        yield from (Mistake(message, "", ("explorer_examples",)) for message in _missing_examples(examples))


def _missing_examples(folder: Path) -> Iterator[str]:
    try:
        if not folder.exists():
            yield f"there is no folder {str(folder)!r}"
        elif not folder.is_dir():
            yield f"{str(folder)!r} is no folder"
        elif not any(folder.glob("*.graphql")):
            yield f"{str(folder)!r} has no *.graphql files"
    except OSError as error:  # not to be looked into, or a name that no folder can have
        yield f"{str(folder)!r} cannot be read: {error.strerror or error}"
