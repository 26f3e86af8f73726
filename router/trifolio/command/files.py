"""The files that commands read and write; what is wrong with one is a ConfigError that names it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from trifolio.command.modules import find_modules_beside
from trifolio.config import Config, examine_config
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


SWITCHES: Final = ("introspection", "explorer", "traces")
"""What shows the schema or plans to whoever asks: off for strangers, on for developers, and where somebody says so."""


def read_settings(path: Path | None, given: Mapping[str, bool | None], *, development: bool = False) -> Config:
    """What `router.yaml` says; the defaults where there is none. Raises ConfigError.

    `given` is what the command line says of the switches, which counts more; None where it says nothing. What neither
    says is on in `development`. The modules of plug-ins that the file names can be imported from then on, also where
    they stand beside it.
    """
    config, written = Config(), set[str]()
    if path is not None:
        reading = examine_config(path, environment=os.environ)
        config = reading.unwrap()
        written = {name for name in SWITCHES if (name,) in reading.written}
        if config.plugins:
            find_modules_beside(path.parent)

    def switched(name: str, set_to: bool) -> bool:
        said = given.get(name)
        return said if said is not None else set_to or (development and name not in written)

    return replace(
        config,
        introspection=switched("introspection", config.introspection),
        explorer=switched("explorer", config.explorer),
        traces=switched("traces", config.traces),
    )
