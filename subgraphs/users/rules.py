"""Users and their sessions: entities as the service returns them, the rules that need no database, and error codes.

Times are milliseconds since the epoch. Authorizations stand in `rules_authorizations`.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from subgraphs.shared.errors import INVALID_REQUEST, ErrorCode, FieldError, Kind, Refusal

Role = Literal["investor", "broker"]

ROLES: tuple[Role, ...] = ("investor", "broker")

NAME_CHARACTERS_MAX = 100
EMAIL_CHARACTERS_MAX = 254
"""The longest address SMTP can carry (RFC 5321)."""
PASSWORD_CHARACTERS_MIN = 12
PASSWORD_CHARACTERS_MAX = 128
"""Longer ones only cost hashing time."""

EMAIL_TAKEN = ErrorCode(
    "email-taken", Kind.CONFLICT, "The e-mail address is registered already", "Log in, or use another one."
)
INVALID_CREDENTIALS = ErrorCode(
    "invalid-credentials", Kind.UNAUTHENTICATED, "The e-mail address or the password is wrong", "Check both."
)
INVALID_REFRESH_TOKEN = ErrorCode(
    "invalid-refresh-token", Kind.UNAUTHENTICATED, "The refresh token is not valid", "Log in again."
)
PROFILE_NOT_YOURS = ErrorCode(
    "profile-not-yours", Kind.FORBIDDEN, "Only the user may change this profile", "Send the change with your own id."
)

NEEDS_CURRENT = "The current password is needed to change the password or the e-mail address."

EMAIL_PATTERN = r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"
"""Something on both sides of one @, and a dot on its right: whether an address is one, only mail to it shows."""

_EMAIL = re.compile(EMAIL_PATTERN)


@dataclass(frozen=True, slots=True)
class User:
    """A user as one viewer sees them: `email` is None for everybody else. Names are not verified."""

    id: str
    name: str
    type: Role
    registered_at: int
    version: int
    email: str | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What login compares with."""

    user_id: str
    role: Role
    password_hash: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A checked request to register."""

    name: str
    email: str
    type: Role
    password: str


@dataclass(frozen=True, slots=True)
class ProfileUpdate:
    """A checked request to replace one's profile; `new_password` is None to keep the password."""

    name: str
    email: str
    current_password: str | None
    new_password: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A fresh pair of tokens; `expires_in_s` is the access token's lifetime."""

    user: User
    access_token: str
    expires_in_s: int
    refresh_token: str


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A login that still goes on: when it began, and when its tokens were last refreshed."""

    id: str
    created_at: int
    seen_at: int


def checked_registration(*, name: str, email: str, role: str, password: str) -> Registration:
    """The registration with its name and e-mail in normal form; raises Refusal `invalid-request` naming every field."""
    errors: list[FieldError] = []
    name, email = _checked_name(name, errors), _checked_email(email, errors)
    _check_password(password, "password", errors)
    if role not in ROLES:
        errors.append(FieldError("type", "Choose investor or broker."))
    _refuse(errors)
    return Registration(name=name, email=email, type="broker" if role == "broker" else "investor", password=password)


def checked_profile(*, name: str, email: str, current_password: str | None, new_password: str | None) -> ProfileUpdate:
    """The profile in normal form; raises Refusal `invalid-request` naming every field."""
    errors: list[FieldError] = []
    name, email = _checked_name(name, errors), _checked_email(email, errors)
    if new_password is not None:
        _check_password(new_password, "newPassword", errors)
        if current_password is None:
            errors.append(FieldError("currentPassword", NEEDS_CURRENT))
    _refuse(errors)
    return ProfileUpdate(name=name, email=email, current_password=current_password, new_password=new_password)


def normal_email(email: str) -> str:
    """The form in which an address is stored and compared: trimmed, composed and in lower case."""
    return unicodedata.normalize("NFC", email.strip()).lower()


def _checked_name(name: str, errors: list[FieldError]) -> str:
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        errors.append(FieldError("name", f"Use 1 to {NAME_CHARACTERS_MAX} printable characters."))
    return name


def _checked_email(email: str, errors: list[FieldError]) -> str:
    email = normal_email(email)
    if len(email) > EMAIL_CHARACTERS_MAX or not email.isprintable() or not _EMAIL.fullmatch(email):
        errors.append(FieldError("email", "This is not an e-mail address."))
    return email


def _check_password(password: str, field: str, errors: list[FieldError]) -> None:
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        message = f"Use {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters."
        errors.append(FieldError(field, message))


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise Refusal(INVALID_REQUEST, fields=errors)
