"""Reads a file into the values, or into all of its problems: each with its line, its key and what to write instead.

A file is read through its YAML nodes, which know their lines. Unknown and repeated keys are refused. In every text
value `${NAME}` (or Rover's `${env.NAME}`) is replaced by the environment's value, `${NAME:-default}` by the default
where NAME is not set. A problem is noted and the reading goes on beside it, so that one look at a file tells them all.
"""

import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar, Union, get_args, get_origin

import yaml

from trifolio.config.effect import Written, settings_without_effect
from trifolio.config.forms import Between, Key, Mistake, joined
from trifolio.config.values import OTHER_KEYS, PLACE, CompositionConfig, Config, Secret, hints_of
from trifolio.errors import ConfigError, ConfigProblem

Value = TypeVar("Value")
Rules = Callable[[Written], Iterable[Mistake]]

EXPANSION: Final = r"\$\{(?:env\.)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}"
"""A regular expression for what the environment's values are put in place of."""

_EXPANSION: Final = re.compile(EXPANSION)
_ELSEWHERE: Final = {"graphref": "schemas out of a registry are not read; fetch the SDL and name it as file"}
_KINDS: Final[Mapping[type, str]] = {str: "a text", int: "a whole number", bool: "true or false"}
_WORDS: Final[Mapping[object, str]] = {True: "true", False: "false", None: "null"}
_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")
"""No file, host or header has a NUL in its name, and a surrogate is half a character, which no encoding takes."""
_SHOWN_MAX: Final = 300
"""300 characters of a message are enough to find what it is about; a file pasted into a value has thousands."""

NESTED_MAX: Final = 100
"""100 values in one another, in the options of a plug-in: a value that holds itself ends here."""
FREE_VALUES_MAX: Final = 100_000
"""100,000 values in the options of plug-ins: aliases of aliases, in ten lines, come to billions."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[Value]):
    """What came of reading a file."""

    value: Value | None
    """None where there are problems."""
    problems: tuple[ConfigProblem, ...]
    """In the order of their lines."""
    file: str
    written: Written
    """What the file says, by key."""
    lines: Mapping[Key, int]
    """Where each key stands."""

    def problem(self, mistake: Mistake) -> ConfigProblem:
        """The problem that a mistake is, with its line or that of what is around it."""
        key = mistake.key
        while key and key not in self.lines:
            key = key[:-1]
        message = _shortened(mistake.message)
        return ConfigProblem(message, mistake.suggestion, self.file, self.lines.get(key), joined(mistake.key))

    def unwrap(self) -> Value:
        """The value. Raises ConfigError with every problem where there are some."""
        if self.value is None:
            raise ConfigError(problems=self.problems)
        return self.value


def read_config(path: Path, *, environment: Mapping[str, str]) -> Config:
    """Read `router.yaml`; raises ConfigError with the file and line of everything that has to change."""
    return examine_config(path, environment=environment).unwrap()


def parse_config(text: str, *, name: str, folder: Path, environment: Mapping[str, str]) -> Config:
    """The same from text; `name` stands in errors, `folder` is where relative paths of secrets start."""
    return _Reader(name, folder, environment).document(text, Config, settings_without_effect).unwrap()


def read_composition_config(path: Path, *, environment: Mapping[str, str]) -> CompositionConfig:
    """Read `supergraph.yaml`; raises ConfigError with the file and line of everything that has to change."""
    return examine_composition_config(path, environment=environment).unwrap()


def examine_config(path: Path, *, environment: Mapping[str, str]) -> Reading[Config]:
    """Read `router.yaml` and say what came of it. Raises ConfigError where there is no such file."""
    reader = _Reader(path.name, path.parent, environment)
    return reader.document(_read(path), Config, settings_without_effect)


def examine_composition_config(path: Path, *, environment: Mapping[str, str]) -> Reading[CompositionConfig]:
    """Read `supergraph.yaml` and say what came of it. Raises ConfigError where there is no such file."""
    return _Reader(path.name, path.parent, environment).document(_read(path), CompositionConfig)


def parse(text: str, cls: type[Value], *, name: str, folder: Path, environment: Mapping[str, str]) -> Reading[Value]:
    """Read a text as any dataclass of the settings."""
    return _Reader(name, folder, environment).document(text, cls)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = ConfigProblem("is not UTF-8", "save it in that encoding", path.name, line)
        raise ConfigError(problems=[problem]) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Refused(Exception):
    """A value cannot be read; the problem is noted already."""


class _Unreadable:
    """Stands where a value could not be read: equal to nothing else, and of no type that anybody asks for."""


_UNREADABLE: Final = _Unreadable()


def _no_rules(_written: Written) -> Iterable[Mistake]:
    return ()


class _Reader:
    """Turns the YAML nodes of one file into dataclasses, and notes what is wrong on the way."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.folder = folder
        self.environment = environment
        self.problems: list[ConfigProblem] = []
        self.written: dict[Key, Any] = {}
        self.lines: dict[Key, int] = {}
        self.free_values = 0
        self.own_keys: dict[int, frozenset[int]] = {}
        """Of each mapping node, its own key nodes; those that it merged from others come beside them."""

    def document(self, text: str, cls: type[Value], rules: Rules = _no_rules) -> Reading[Value]:
        """Read a whole file; an empty one is an empty mapping. `rules` look at all that it says."""
        value: Value | None = None
        try:
            node = self.root(text)
            self.lines[()] = node.start_mark.line + 1
            value = self.value(node, cls, ())
        except _Refused:
            pass
        for mistake in rules(self.written):
            self.note_at(mistake)
        problems = tuple(sorted(dict.fromkeys(self.problems), key=lambda each: each.line or 0))
        return Reading(None if problems else value, problems, self.name, self.written, self.lines)

    def root(self, text: str) -> yaml.Node:
        """The file's only node."""
        try:
            self.loader = yaml.SafeLoader(text)
            node: yaml.Node | None = self.loader.get_single_node()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = f"not YAML: {getattr(error, 'problem', None) or getattr(error, 'reason', None) or error}"
            place: int | None = getattr(error, "position", None)  # of a character that YAML does not have
            line = mark.line + 1 if mark else text.count("\n", 0, place) + 1
            self.problems.append(ConfigProblem(_shortened(problem), file=self.name, line=line))
            raise _Refused from error
        except RecursionError:
            line = self.loader.line + 1
            self.problems.append(ConfigProblem("is nested too deep", file=self.name, line=line))
            raise _Refused from None
        empty = yaml.MappingNode("tag:yaml.org,2002:map", [], yaml.Mark(self.name, 0, 0, 0, "", 0))
        return empty if node is None else node

    # ---- what is wrong ----

    def note(self, node: yaml.Node, key: Key, message: str, suggestion: str = "") -> None:
        """Take note of a problem at `node`."""
        line = node.start_mark.line + 1
        self.problems.append(ConfigProblem(_shortened(message), suggestion, self.name, line, joined(key)))

    def note_at(self, mistake: Mistake) -> None:
        """Take note of a mistake that knows its key."""
        self.problems.append(Reading(None, (), self.name, self.written, self.lines).problem(mistake))

    def refuse(self, node: yaml.Node, key: Key, message: str, suggestion: str = "") -> NoReturn:
        """Take note of a problem that leaves no value."""
        self.note(node, key, message, suggestion)
        raise _Refused

    def attempt(self, node: yaml.Node, hint: Any, key: Key) -> Any:
        """The value, or what stands for one that cannot be read."""
        try:
            value = self.value(node, hint, key)
        except _Refused:
            value = _UNREADABLE
        self.written[key] = value
        return value

    # ---- values by their types ----

    def value(self, node: yaml.Node, hint: Any, key: Key) -> Any:
        """The node's value as the type `hint`. Raises _Refused."""
        origin = get_origin(hint)
        if origin is Annotated:
            return self.formed(node, hint, key)
        if origin in {Union, types.UnionType}:
            return self.union(node, hint, key)
        if hint is Secret:
            return self.secret(node, key)
        if hint is Path:
            return self.folder / str(self.scalar(node, str, key))
        if isinstance(hint, type) and is_dataclass(hint):
            return self.dataclass(node, hint, key)
        if origin is tuple:
            return self.sequence(node, get_args(hint)[0], key)
        if origin is not None:
            return self.mapping(node, get_args(hint), key)
        return self.scalar(node, hint, key)

    def formed(self, node: yaml.Node, hint: Any, key: Key) -> Any:
        """A value whose type names its forms; one without them is noted, and can be compared with others still."""
        value = self.value(node, hint.__origin__, key)
        for form in hint.__metadata__:
            for mistake in form.mistakes(value):
                self.note(self.below(node, mistake.key), (*key, *mistake.key), mistake.message, mistake.suggestion)
        return value

    def below(self, node: yaml.Node, key: Key) -> yaml.Node:
        """The item of a sequence that `key` names; the node itself where it names none."""
        return node.value[key[0]] if key and isinstance(node, yaml.SequenceNode) else node

    def union(self, node: yaml.Node, hint: Any, key: Key) -> Any:
        """`X | None` and unions of scalars: null is what leaving the key out is."""
        members = [member for member in get_args(hint) if member is not type(None)]
        if node.tag.endswith(":null") and len(members) < len(get_args(hint)):
            return None
        if len(members) > 1:
            given = type(self.plain(node, key))
            return self.scalar(node, given if given in members else members[0], key)
        return self.value(node, members[0], key)

    def plain(self, node: yaml.Node, key: Key) -> object:
        """What YAML itself takes a node for."""
        tag = node.tag.rpartition(":")[2]
        try:
            value: object = self.loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            self.refuse(node, key, f"cannot be read: {_shortened(str(getattr(error, 'problem', None) or error))}")
        except (LookupError, AttributeError, TypeError, OverflowError):
            # What PyYAML makes of a text under a tag that it does not fit: `!!bool maybe`.
            self.refuse(node, key, f"cannot be read: {_shown(str(node.value))} is no {tag}")
        return value

    def scalar(self, node: yaml.Node, kind: type, key: Key) -> object:
        """A text, integer or boolean; numbers and booleans may come out of the environment as text."""
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, key, f"has to be {_KINDS[kind]}")
        expanded = self.expand(node, key)
        if kind is str and node.tag.endswith((":str", ":float", ":int")):
            return expanded
        value = self.plain(self.resolved(node, expanded), key)
        if type(value) is not kind:
            given = _shown(value) if isinstance(value, str) else _WORDS.get(value, _shortened(expanded))
            quote = "put it in quotes" if kind is str and value is not None else ""
            self.refuse(node, key, f"has to be {_KINDS[kind]}, not {given}", quote)
        return value

    def resolved(self, node: yaml.ScalarNode, expanded: str) -> yaml.ScalarNode:
        """The node with the environment's values in it, and of the type that YAML takes them for."""
        if expanded == node.value:
            return node
        tag = self.loader.resolve(yaml.ScalarNode, expanded, (True, False))  # type: ignore[no-untyped-call]  # stubs
        return yaml.ScalarNode(tag, expanded, node.start_mark)

    def expand(self, node: yaml.ScalarNode, key: Key) -> str:
        """The scalar's text with the environment's values in it."""

        def replacement(match: re.Match[str]) -> str:
            name, default = match.groups()
            value = self.environment.get(name, default)
            if value is None:
                self.refuse(node, key, f"the environment has no {name}", f"set it, or write ${{{name}:-default}}")
            return value

        expanded = _EXPANSION.sub(replacement, node.value)
        if _NO_TEXT.search(expanded):
            self.refuse(node, key, f"{_shown(expanded)} has a character that no text has")
        return expanded

    def sequence(self, node: yaml.Node, hint: Any, key: Key) -> tuple[object, ...]:
        """A list, if all of its items can be read."""
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, key, "has to be a list")
        self.untagged(node, key)
        for index, each in enumerate(node.value):
            self.lines[(*key, index)] = each.start_mark.line + 1
        return tuple(_readable(self.attempt(each, hint, (*key, index)) for index, each in enumerate(node.value)))

    def untagged(self, node: yaml.CollectionNode, key: Key) -> None:
        """A list or a mapping is what it looks like; a tag such as `!vault` would make something else of it."""
        if node.tag not in {"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}:
            self.refuse(node, key, f"the tag {_shown(node.tag)} is not known", "remove it")

    def items(self, node: yaml.Node, key: Key) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """A mapping's key and value nodes by key; merge keys (`<<`) are resolved, repeated keys noted."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, key, "has to be a mapping of keys to values")
        self.untagged(node, key)
        # What an alias names is one node, and is read at every place that names it; it is merged into once.
        own = self.own_keys.setdefault(id(node), frozenset(id(key_node) for key_node, _ in node.value))
        try:
            self.loader.flatten_mapping(node)
        except yaml.YAMLError as error:
            self.refuse(node, key, f"cannot be read: {getattr(error, 'problem', None) or error}")
        items: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.refuse(key_node, key, "a key has to be a text")
            name = str(key_node.value)
            if _NO_TEXT.search(name):
                self.refuse(key_node, key, f"{_shown(name)} has a character that no text has")
            if name in items and id(items[name][0]) in own:
                self.note(key_node, key, f"{name!r} stands here twice")
            items[name] = (key_node, value_node)
            self.lines[(*key, name)] = key_node.start_mark.line + 1
        return items

    def mapping(self, node: yaml.Node, hints: tuple[Any, ...], key: Key) -> dict[str, object]:
        """A mapping of any keys that have their form, if all of its values can be read."""
        items = self.items(node, key)
        for name, (key_node, _) in items.items():
            for form in getattr(hints[0], "__metadata__", ()):
                for mistake in form.mistakes(name):
                    self.note(key_node, key, mistake.message, mistake.suggestion)
        values = {name: self.attempt(value, hints[1], (*key, name)) for name, (_, value) in items.items()}
        return dict(zip(values, _readable(values.values()), strict=True))

    def dataclass(self, node: yaml.Node, cls: type, key: Key) -> object:
        """A dataclass, if everything in it is as it should be."""
        noted = len(self.problems)
        hints, items = hints_of(cls), self.items(node, key)
        known = [each.name for each in fields(cls) if each.metadata not in (OTHER_KEYS, PLACE)]
        values: dict[str, Any] = {
            name: self.attempt(value_node, _bounded(cls, hints[name]), (*key, name))
            for name, (_, value_node) in items.items()
            if name in known
        }
        others = {name: nodes for name, nodes in items.items() if name not in known}
        for each in fields(cls):
            if each.metadata == OTHER_KEYS:
                values[each.name] = {name: self.free(value, (*key, name)) for name, (_, value) in others.items()}
                others = {}
            elif each.metadata == PLACE:
                values[each.name] = f"{self.name}:{node.start_mark.line + 1}"
        for name, (key_node, _) in others.items():
            self.note(key_node, key, *_unknown_key(name, sorted(known)))
        # What is lacking may be what stands there under a wrong name: then that is all there is to say.
        self.check(node, cls, key, values, about_lack=not others)
        if len(self.problems) > noted:
            raise _Refused
        return cls(**values)

    def check(self, node: yaml.Node, cls: type, key: Key, values: Mapping[str, Any], *, about_lack: bool) -> None:
        """Take note of what a dataclass's values lack, and of what is wrong between them."""
        if about_lack:
            for each in fields(cls):
                if each.name not in values and _is_required(each):
                    self.note(node, key, f"{each.name} is missing")
        rules = getattr(cls, "rules", None)
        given = {**{each.name: _default(each) for each in fields(cls)}, **values}
        for mistake in () if rules is None else rules(given):
            if mistake.key:
                self.note_at(Mistake(mistake.message, mistake.suggestion, (*key, *mistake.key)))
            elif about_lack:
                self.note(node, key, mistake.message, mistake.suggestion)

    def free(self, node: yaml.Node, key: Key) -> object:
        """A value of no certain type: what YAML takes it for, with the environment's values in its texts."""
        self.free_values += 1
        try:
            if len(key) > NESTED_MAX:
                self.refuse(node, key[:3], "is nested too deep")
            if self.free_values > FREE_VALUES_MAX:
                self.refuse(node, key[:3], f"has more than {FREE_VALUES_MAX:,} values")
            if isinstance(node, yaml.MappingNode):
                return {name: self.free(value, (*key, name)) for name, (_, value) in self.items(node, key).items()}
            if isinstance(node, yaml.SequenceNode):
                self.untagged(node, key)
                return [self.free(each, (*key, index)) for index, each in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            expanded = self.expand(node, key)
            # What stands in quotes is a text, whatever the environment puts in.
            return expanded if node.style in {"'", '"'} else self.plain(self.resolved(node, expanded), key)
        except _Refused:
            return _UNREADABLE

    def secret(self, node: yaml.Node, key: Key) -> Secret:
        """A secret, from where it is kept."""
        items = self.items(node, key) if isinstance(node, yaml.MappingNode) else {}
        if len(items) != 1 or not set(items) <= {"env", "file"}:
            self.refuse(node, key, "is written as {env: NAME} or {file: PATH}, never as the secret itself")
        [(source, (_, value_node))] = items.items()
        where = str(self.scalar(value_node, str, (*key, source)))
        try:
            text = _read(self.folder / where) if source == "file" else self.environment[where]
        except KeyError:
            self.refuse(value_node, key, f"the environment has no {where}")
        except ConfigError as error:
            self.refuse(value_node, key, error.message)
        if not text.strip():
            self.refuse(value_node, key, f"the secret in {where} is empty")
        if not text.strip().isprintable():
            self.refuse(value_node, key, f"the secret in {where} has several lines, or a character that no header has")
        return Secret(text.strip())


def _readable(values: Iterable[Any]) -> Iterator[Any]:
    """All values, after each has been tried. Raises _Refused where one could not be read."""
    tried = list(values)
    if any(each is _UNREADABLE for each in tried):
        raise _Refused
    return iter(tried)


def _bounded(cls: type, hint: Any) -> Any:
    """The type of a field, with the bound that all of its class have."""
    minimum = getattr(cls, "MINIMUM", None)
    return hint if minimum is None else Annotated[hint, Between(minimum)]


def _shown(text: str) -> str:
    """A text as a message quotes it: at most one line."""
    return _shortened(repr(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else f"{text[:200]} … {text[-50:]}"


def _is_required(each: "Field[Any]") -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _default(each: "Field[Any]") -> Any:
    if each.default is not MISSING:
        return each.default
    return _UNREADABLE if each.default_factory is MISSING else each.default_factory()


def _unknown_key(key: str, known: list[str]) -> tuple[str, str]:
    if key in _ELSEWHERE:
        return f"{key!r}: {_ELSEWHERE[key]}", ""
    close = get_close_matches(key, known, n=1)
    if close:
        return f"unknown key {key!r}", f"did you mean {close[0]!r}?"
    if len(known) > _LISTED_MAX:
        return f"unknown key {key!r}", f"known here are {len(known)}, which `trifolio config schema` lists"
    return f"unknown key {key!r}", f"known here: {', '.join(known)}"


_LISTED_MAX: Final = 30
"""30 keys are listed where one is unknown: what fits into a line or two."""
