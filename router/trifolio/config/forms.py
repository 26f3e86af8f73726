"""What a setting's value has to look like, beside its type: the forms that `Annotated` types of the settings name.

A form says what is wrong with a value, and says the same, as far as a JSON Schema can, for editors.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Annotated, Any, Final, Protocol, get_args, get_origin
from urllib.parse import urlsplit

from trifolio.header_fields import CONNECTION_FIELDS, SECRET_HEADER, is_field_name

Key = tuple[str | int, ...]
"""The way from a value to something in it: keys of mappings, indexes of lists."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a value."""

    message: str
    suggestion: str = ""
    """What to write instead; empty where the message says it all."""
    key: Key = ()
    """Where below the value it stands."""

    def __str__(self) -> str:
        text = f"{joined(self.key)}: {self.message}" if self.key else self.message
        return f"{text}; {self.suggestion}" if self.suggestion else text


class Form(Protocol):
    """A rule that values of one type follow."""

    def mistakes(self, value: Any, /) -> Iterable[Mistake]:
        """What is wrong with a value; nothing where it is as it should be."""

    def json_schema(self) -> Mapping[str, object]:
        """The keywords that say it to editors."""


@dataclass(frozen=True, slots=True)
class Between:
    """A whole number within bounds, both allowed."""

    minimum: int
    maximum: int | None = None

    def mistakes(self, value: int, /) -> Iterator[Mistake]:
        """One, where the number is out of bounds."""
        if value < self.minimum:
            yield Mistake(f"has to be at least {self.minimum}")
        elif self.maximum is not None and value > self.maximum:
            yield Mistake(f"has to be at most {self.maximum:,}")

    def json_schema(self) -> Mapping[str, object]:
        """`minimum` and `maximum`."""
        bounds = {"minimum": self.minimum}
        return bounds if self.maximum is None else {**bounds, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class Text:
    """A text of which `find` says what is wrong, if anything is."""

    find: Callable[[str], Mistake | None]
    pattern: str
    """A regular expression for the whole text, which editors check; `find` may know more."""
    never: frozenset[str] = frozenset()
    """Texts that fit the pattern and are refused all the same."""
    numbers: Mapping[str, object] | None = field(default=None, hash=False)
    """Which numbers without quotes fit, as keywords of a JSON Schema; None where no number does."""

    def mistakes(self, value: str, /) -> Iterator[Mistake]:
        """What `find` says."""
        found = self.find(value)
        if found is not None:
            yield found

    def json_schema(self) -> Mapping[str, object]:
        """`pattern`, the numbers that fit, and the texts that are refused."""
        shape: dict[str, object] = {"type": "string", "pattern": f"^(?:{self.pattern})$"}
        if self.numbers is not None:
            shape = {**shape, "type": ["string", "number"], **self.numbers}
        return {**shape, "not": {"enum": sorted(self.never)}} if self.never else shape


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def mistakes(self, value: str, /) -> Iterator[Mistake]:
        """One, where the value is another word."""
        if value not in self.words:
            yield Mistake(f"{value!r} is not known", f"write {' or '.join(self.words)}")

    def json_schema(self) -> Mapping[str, object]:
        """`enum`."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Distinct:
    """A list in which nothing stands twice, whatever the case of its letters."""

    def mistakes(self, value: tuple[str, ...], /) -> Iterator[Mistake]:
        """One for each item that stood there before."""
        seen: dict[str, str] = {}
        for index, item in enumerate(value):
            first = seen.get(item.lower())
            if first is not None:
                yield Mistake(f"{item!r} stands here twice, first as {first!r}", "remove one", (index,))
            seen.setdefault(item.lower(), item)

    def json_schema(self) -> Mapping[str, object]:
        """`uniqueItems`, which looks at the case."""
        return {"uniqueItems": True}


def mistakes_in(hint: Any, value: Any) -> Iterator[Mistake]:
    """What is wrong with a value of the type `hint` by the forms that the type names."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        forms: tuple[Form, ...] = hint.__metadata__
        for form in forms:
            yield from form.mistakes(value)
        yield from mistakes_in(hint.__origin__, value)
    elif origin is tuple:
        for index, item in enumerate(value):
            yield from _below(index, mistakes_in(arguments[0], item))
    elif origin is Mapping:
        for key, item in value.items():
            yield from _below(key, mistakes_in(arguments[0], key))
            yield from _below(key, mistakes_in(arguments[1], item))
    elif value is not None and arguments:  # a union: X | None
        yield from mistakes_in(arguments[0], value)


def _below(key: str | int, mistakes: Iterable[Mistake]) -> Iterator[Mistake]:
    return (Mistake(each.message, each.suggestion, (key, *each.key)) for each in mistakes)


def joined(key: Key) -> str:
    """A key as people write it: `cors.origins[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_as_key(part)}" for part in key).removeprefix(".")


def _as_key(part: str) -> str:
    return part if part.isprintable() and len(part) <= 100 else repr(part[:100])


# ---- headers ----

_PATTERN_SIGNS: Final = frozenset("*^$|+?[](){}\\")
_BODY_FIELDS: Final = frozenset({"accept", "content-type", "content-encoding"})
_NEVER_FORWARDED: Final = CONNECTION_FIELDS | _BODY_FIELDS | {SECRET_HEADER}
_NEVER_ASKED: Final = frozenset(
    {
        *("accept-charset", "accept-encoding", "access-control-request-headers", "access-control-request-method"),
        *("access-control-request-private-network", "connection", "content-length", "cookie", "cookie2", "date", "dnt"),
        *("expect", "host", "keep-alive", "origin", "referer", "set-cookie", "te", "trailer", "transfer-encoding"),
        *("upgrade", "via"),
    }
)
"""Headers that no page can set (Fetch standard, "forbidden request-header"), beside those that start as below."""
_NEVER_ASKED_STARTS: Final = ("proxy-", "sec-")
_NEVER_EXPOSED: Final = frozenset({"set-cookie", "set-cookie2"})


def _header_name(name: str) -> Mistake | None:
    if _PATTERN_SIGNS & set(name):
        return Mistake(f"patterns are not supported, and no header is called {name!r}", "write out each header's name")
    if not is_field_name(name):
        return Mistake(f"{name!r} is no header's name", "it has letters, digits and hyphens, no space and no colon")
    return None


def _forwarded_header(name: str) -> Mistake | None:
    own = name.lower()
    if own in CONNECTION_FIELDS:
        return Mistake(f"{name!r} is never forwarded, it belongs to the client's connection", "remove it")
    if own in _BODY_FIELDS:
        return Mistake(f"{name!r} is never forwarded, the router says itself what it sends and takes", "remove it")
    if own == SECRET_HEADER:
        return Mistake(f"{name!r} is never forwarded, it is the router's own", "set secret at the subgraph instead")
    return _header_name(name)


def _allowed_header(name: str) -> Mistake | None:
    if name.lower() in _NEVER_ASKED or name.lower().startswith(_NEVER_ASKED_STARTS):
        cure = "set credentials instead" if name.lower() == "cookie" else "remove it"
        return Mistake(f"{name!r} is set by browsers alone, pages cannot ask for it", cure)
    return None if name == "*" else _header_name(name)


def _exposed_header(name: str) -> Mistake | None:
    if name.lower() in _NEVER_EXPOSED:
        return Mistake(f"{name!r} is never shown to pages", "remove it")
    return None if name == "*" else _header_name(name)


_NAME: Final = r"[!#%&'.`~_0-9A-Za-z-]+"
"""A field's name without the signs that only patterns have."""
HeaderName = Annotated[str, Text(_header_name, _NAME, numbers={})]
"""The name of a header, in any case."""
ForwardedHeader = Annotated[str, Text(_forwarded_header, _NAME, _NEVER_FORWARDED, numbers={})]
"""The name of a header of the client's that subgraphs can get."""
AllowedHeader = Annotated[str, Text(_allowed_header, rf"\*|{_NAME}", _NEVER_ASKED, numbers={})]
"""The name of a header that pages may send, or `*`."""
ExposedHeader = Annotated[str, Text(_exposed_header, rf"\*|{_NAME}", _NEVER_EXPOSED, numbers={})]
"""The name of a header that pages may read, or `*`."""

# ---- URLs and origins ----

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_ORIGIN: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_HOST: Final = r"\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]*\\%<>^|\x00-\x20]+"
_AUTHORITY: Final = re.compile(rf"(?:[^@]*@)?({_HOST})(?::([0-9]{{1,5}}))?")
_NO_ORIGIN_SCHEMES: Final = {"ws": "http", "wss": "https"}


def _http_url(url: str) -> Mistake | None:
    shown = _without_password(url)
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\s\\]", url):
        return Mistake(f"{shown!r} is no http or https URL")
    if parts.fragment or url.endswith("#"):
        return Mistake(f"{shown!r} has a fragment, which is never sent", "remove it from # on")
    return None


def _without_password(url: str) -> str:
    return re.sub(r"//[^/?#]*@", "//", url)


def _origin(text: str) -> Mistake | None:
    """Origins are compared letter by letter with what a browser sends (RFC 6454, section 6.2)."""
    if text == "*":
        return None
    if text == "null":
        return Mistake("any page can have the origin null, from a sandboxed frame", "write * to let every page call")
    if "*" in text:
        return Mistake(
            f"{text!r} never matches, a browser sends one exact origin", "list each origin, or * alone for all"
        )
    shown = _without_password(text)
    match = _ORIGIN.fullmatch(text)
    sent = None if match is None else _sent_by_browsers(match[1].lower(), match[2])
    if sent is None:
        return Mistake(f"{shown!r} is no origin", "an origin is scheme://host or scheme://host:port")
    if sent != text:
        return Mistake(f"{shown!r} never matches", f"write {sent!r}, which is what a browser sends")
    return None


def _sent_by_browsers(scheme: str, authority: str) -> str | None:
    """The Origin header of a page with this scheme and authority; None where it has none of its own."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or scheme == "file":
        return None
    host, port = match[1], match[2]
    scheme = _NO_ORIGIN_SCHEMES.get(scheme, scheme)
    if scheme in _DEFAULT_PORTS:
        try:
            host = f"[{IPv6Address(host[1:-1])}]" if host[0] == "[" else host.lower().encode("idna").decode("ascii")
        except ValueError:
            return None
    if port is not None and int(port) > 65_535:
        return None
    port = None if port is None else str(int(port))
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


HttpUrl = Annotated[str, Text(_http_url, r"[Hh][Tt][Tt][Pp][Ss]?://[^\s#\\/?]+[^\s#\\]*")]
"""Where something listens."""
Origin = Annotated[
    str,
    Text(
        _origin,
        r"\*|(?!http://[^/]*:80$)(?!https://[^/]*:443$)(?!wss?:|file:)"
        r"(?:https?://[^\s/?#@*A-Z]+|(?!https?:)[a-z][a-z0-9+.-]*://[^\s/?#@*]+)",
    ),
]
"""What a browser says in Origin of the page that calls, or `*` for any."""

# ---- names ----

_LABEL: Final = r"[A-Za-z][A-Za-z0-9_:./-]*"
_PERCENT: Final = re.compile(r"percent\((.*)\)", re.IGNORECASE | re.DOTALL)
_PERCENTAGE: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,8})?|100")
_REFERENCE: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_VERSION: Final = r"=?2(?:\.\d+){0,2}"


def _label(label: str) -> Mistake | None:
    percent = _PERCENT.fullmatch(label)
    if percent is not None and not _PERCENTAGE.fullmatch(percent[1]):
        return Mistake(f"{label!r} is no label, a percentage is from 0 to 100", "remove it")
    if percent is not None:
        return Mistake(
            f"{label!r} is decided by its percentage, not here", "change the @override in the subgraph instead"
        )
    if not re.fullmatch(_LABEL, label):
        return Mistake(
            f"{label!r} is no label of an @override", "a label starts with a letter and has letters, digits and _-:./"
        )
    return None


def _shaped(pattern: str, message: str) -> Callable[[str], Mistake | None]:
    expression = re.compile(pattern)
    return lambda text: None if expression.fullmatch(text) else Mistake(message)


Label = Annotated[str, Text(_label, _LABEL)]
"""A label of a progressive @override that the settings decide."""
SchemaReference = Annotated[str, Text(_shaped(_REFERENCE, "is written as package.module:attribute"), _REFERENCE)]
"""An object in a module."""
PluginReference = Annotated[
    str, Text(_shaped(_REFERENCE, "is written as package.module:Name, the module and the class in it"), _REFERENCE)
]
"""A class in a module."""
FederationVersion = Annotated[
    str | int,
    Text(
        lambda version: _shaped(_VERSION, 'has to be 2 or "=2.x.y"; federation 1 is not composed')(str(version)),
        _VERSION,
        numbers={"minimum": 2, "exclusiveMaximum": 3},
    ),
]
"""Composition is the same for all of federation 2."""
