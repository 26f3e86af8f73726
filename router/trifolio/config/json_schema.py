"""The format of the two files as a JSON Schema, by which editors complete and check them.

It is made from the dataclasses alone. A schema sees one value at a time: what only holds between two settings, or
depends on the environment, the reader knows and the schema does not.

Specification: JSON Schema, draft 2020-12.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

from trifolio.config.reader import EXPANSION
from trifolio.config.values import OTHER_KEYS, PLACE, Secret, hints_of

JsonSchema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_EXPANDED: Final[JsonSchema] = {"type": "string", "pattern": EXPANSION}
"""A text in which the environment's values are put in; then it can be anything."""
_SECRET: Final[JsonSchema] = {
    "type": "object",
    "description": "Where a secret is kept; it is never written out.",
    "properties": {
        "env": {"type": "string", "description": "A variable of the environment."},
        "file": {"type": "string", "description": "A file, relative to this one."},
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def json_schema(cls: type, *, title: str) -> JsonSchema:
    """The schema of a file that is read as the dataclass `cls`."""
    return {"$schema": DIALECT, "title": title, **_of_dataclass(cls)}


def _of(hint: Any) -> JsonSchema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _of_formed(hint)
    if origin in {Union, types.UnionType}:
        members = [{"type": "null"} if each is type(None) else _of(each) for each in arguments]
        return {"anyOf": [choice for member in members for choice in _choices(member)]}
    if hint is Secret:
        return _SECRET
    if isinstance(hint, type) and is_dataclass(hint):
        return _of_dataclass(hint)
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0])}
    if origin is not None:
        return _of_mapping(*arguments)
    return _SCALARS[hint]


_SCALARS: Final[Mapping[Any, JsonSchema]] = {
    str: {"type": ["string", "number"]},
    Path: {"type": ["string", "number"]},
    int: {"anyOf": [{"type": "integer"}, _EXPANDED]},
    bool: {"anyOf": [{"type": "boolean"}, _EXPANDED]},
}


def _choices(schema: JsonSchema) -> list[JsonSchema]:
    """What a schema allows, each by itself."""
    choices: list[JsonSchema] = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
    return choices


def _of_formed(hint: Any) -> JsonSchema:
    """A type with forms: a list follows them as it is, a scalar that comes out of the environment does not yet."""
    keywords = {key: value for form in hint.__metadata__ for key, value in form.json_schema().items()}
    if get_origin(hint.__origin__) is tuple:
        return {**_of(hint.__origin__), **keywords}
    return {"anyOf": [{"type": "integer", **keywords} if hint.__origin__ is int else keywords, _EXPANDED]}


def _of_mapping(keys: Any, values: Any) -> JsonSchema:
    schema: JsonSchema = {"type": "object", "additionalProperties": _of(values)}
    forms = getattr(keys, "__metadata__", ())
    names = {key: value for form in forms for key, value in form.json_schema().items()}
    return {**schema, "propertyNames": names} if names else schema


def _of_dataclass(cls: type) -> JsonSchema:
    hints, texts = hints_of(cls), _field_texts(cls)
    known = [each for each in fields(cls) if each.metadata not in (OTHER_KEYS, PLACE)]
    schema: JsonSchema = {
        "type": "object",
        "description": inspect.getdoc(cls) or "",
        "properties": {each.name: _of_field(cls, each, hints[each.name], texts) for each in known},
        "additionalProperties": any(each.metadata == OTHER_KEYS for each in fields(cls)),
    }
    required = [each.name for each in known if each.default is MISSING and each.default_factory is MISSING]
    return {**schema, "required": required} if required else schema


def _of_field(cls: type, each: "Field[Any]", hint: Any, texts: Mapping[str, str]) -> JsonSchema:
    minimum = getattr(cls, "MINIMUM", None)
    schema = _of(hint)
    if minimum is not None:
        schema = {"anyOf": [{"type": "integer", "minimum": minimum}, _EXPANDED]}
    schema = {**schema, "description": texts.get(each.name) or schema.get("description", "")}
    default = list(each.default) if isinstance(each.default, tuple) else each.default
    return {**schema, "default": default} if isinstance(default, bool | int | str | list) else schema


@cache
def _field_texts(cls: type) -> Mapping[str, str]:
    """The text below each field of a class; none where the source is not at hand."""
    try:
        [body] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except OSError:
        return {}
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(value=ast.Constant(value=str(found))):
                    texts[field.target.id] = inspect.cleandoc(found)
    return texts
