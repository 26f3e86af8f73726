"""What keeps a command from its work, in words for whoever typed it: a sentence, and never a traceback.

Every failure of this package that is the operator's to mend is a `CommandFailed`. `explained` does the same for what
libraries raise of it: files, databases, addresses. Anything else is a mistake of ours, and shows where it was made.
Nothing of a secret is in any of these texts: a database is called by its service's name, never by its URL.
"""

import contextlib
import sqlite3
from collections.abc import Iterator

import asyncpg
from alembic.util.exc import CommandError
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from subgraphs.shared.database import UnusableUrl
from subgraphs.shared.errors import Refusal
from subgraphs.shared.migrations import WrongSchema
from subgraphs.shared.settings import settings_fault

NEWER_SCHEMA = "its schema is newer than this program; run the version that made it, or a newer one"


class CommandFailed(Exception):
    """A command cannot do its work. The text is for the user."""


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Makes a CommandFailed, which says what it is about, of what files, databases and networks may do to anybody."""
    try:
        yield
    except Exception as error:
        text = explanation(error)
        if text is None:
            raise
        raise CommandFailed(f"{what}: {text}") from error


def explanation(error: BaseException) -> str | None:
    """What is wrong, for whoever runs the program; None where it is the program itself."""
    match error:
        case ValidationError():
            return settings_fault(error)
        case SettingsError() | UnusableUrl():
            return str(error)
        case UnicodeDecodeError():
            return "a file that holds a setting is not UTF-8"
        case CommandError():
            return NEWER_SCHEMA if "locate revision" in str(error) else str(error)
        case WrongSchema():
            return str(error)
        case Refusal() if isinstance(error.__cause__, Exception):
            return explanation(error.__cause__) or error.detail
        case DBAPIError():
            return str(error.orig).strip().splitlines()[0]
        case sqlite3.Error():
            return str(error)
        case asyncpg.PostgresError() | asyncpg.InterfaceError() | SQLAlchemyError():
            return str(error).strip().splitlines()[0]
        case OSError():
            return _file_fault(error)
    return None


def _file_fault(error: OSError) -> str:
    words = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {words}" if error.filename else words
