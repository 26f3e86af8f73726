"""The files that commands read and write; what is wrong with one is a ConfigError that names it."""

import os
from pathlib import Path

from trifolio.command.modules import find_modules_beside
from trifolio.config import Config, parse_config, read_config
from trifolio.errors import ConfigError


def write_text(path: Path, text: str) -> None:
    """Write a text file. Raises ConfigError where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error


def read_text(path: Path) -> str:
    """A text file in UTF-8. Raises ConfigError where there is none, or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def read_settings(path: Path | None) -> Config:
    """What `router.yaml` says; the defaults where there is none. Raises ConfigError.

    The modules of plug-ins that it names can be imported from then on, also where they stand beside it.
    """
    if path is not None:
        config = read_config(path, environment=os.environ)
        if config.plugins:
            find_modules_beside(path.parent)
        return config
    return parse_config("", name="router.yaml", folder=Path(), environment=os.environ)
