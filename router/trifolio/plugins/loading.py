"""Plug-ins that `router.yaml` names: the class is imported, and made with the options that stand beside it."""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from trifolio.config import PluginConfig
from trifolio.errors import ConfigError
from trifolio.plugins.hooks import described, hooks_of


def load_plugins(configs: Sequence[PluginConfig]) -> list[object]:
    """An object for every plug-in, in order. Raises ConfigError that names the place where one cannot be had."""
    return [_load(config) for config in configs]


def _load(config: PluginConfig) -> object:
    place = f"{config.place}: " if config.place else ""
    module_name, _, attribute = config.python.partition(":")
    try:
        found: Any = import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it raises is said in one line
        raise ConfigError(f"{place}{config.python} cannot be imported: {described(error)}") from error
    if not callable(found):
        raise ConfigError(f"{place}{config.python} is a {type(found).__name__}; name a class")
    _check_options(found, config, place)
    try:
        made: object = found(**config.options)
    except ConfigError as error:
        raise ConfigError(f"{place}{config.python}: {error.message}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{place}{config.python} cannot be made: {described(error)}") from error
    try:
        hooks_of(made)
    except ConfigError as error:
        raise ConfigError(f"{place}{config.python}: {error.message}") from error
    return made


def _check_options(factory: Callable[..., object], config: PluginConfig, place: str) -> None:
    """Raises ConfigError where the options are not those that the class takes."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # written in C: making it will tell
        return
    try:
        signature.bind(**config.options)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "none"
        raise ConfigError(f"{place}{config.python}: {error}; its options are: {takes}") from error
