"""When the market is open: a daily window on some weekdays, in UTC. By default always; days end at 00:00."""

from dataclasses import dataclass
from datetime import UTC, datetime

DAY_MS = 86_400_000
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Sessions:
    """A session runs from `opens_ms` to `closes_ms` of each of `weekdays` (Monday is 0), in milliseconds UTC."""

    opens_ms: int = 0
    closes_ms: int = DAY_MS
    weekdays: frozenset[int] = EVERY_DAY

    def __post_init__(self) -> None:
        if not 0 <= self.opens_ms < self.closes_ms <= DAY_MS or not self.weekdays:
            raise ValueError("a session opens before it closes, within one UTC day, on at least one weekday")

    def is_open(self, at: int) -> bool:
        """Whether the market trades at `at`."""
        return self._trades_on(at // DAY_MS) and self.opens_ms <= at % DAY_MS < self.closes_ms

    def day_end(self, at: int) -> int:
        """The end of the session that runs at `at`, or of the next one."""
        day = at // DAY_MS
        if not self._trades_on(day) or at % DAY_MS >= self.closes_ms:
            day = next(later for later in range(day + 1, day + 8) if self._trades_on(later))
        return day * DAY_MS + self.closes_ms

    def _trades_on(self, day: int) -> bool:
        return (day + 3) % 7 in self.weekdays  # the epoch was a Thursday


def date_of(at: int) -> str:
    """The UTC date of a time, as `2026-11-22`."""
    return datetime.fromtimestamp(at // 1000, UTC).date().isoformat()


def start_of(date: str) -> int:
    """The first millisecond of a UTC date, such as `2026-11-22`."""
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * 1000


def sessions_from(text: str) -> Sessions:
    """Reads the setting: `always`, or `09:00-17:30` with an optional ` mon-fri` or ` mon,tue,sat`.

    Raises:
        ValueError: the text is neither.
    """
    if text == "always":
        return Sessions()
    hours, _, days = text.partition(" ")
    opens, separator, closes = hours.partition("-")
    if not separator:
        raise ValueError(f"market sessions are 'always' or 'HH:MM-HH:MM [mon-fri]', not {text!r}")
    return Sessions(_time_of_day(opens), _time_of_day(closes), _weekdays(days) if days else EVERY_DAY)


_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _time_of_day(text: str) -> int:
    hour, _, minute = text.partition(":")
    return (int(hour) * 60 + int(minute)) * 60_000


def _weekdays(text: str) -> frozenset[int]:
    first, dash, last = text.partition("-")
    if dash:
        return frozenset(range(_NAMES.index(first), _NAMES.index(last) + 1))
    return frozenset(_NAMES.index(name) for name in text.split(","))
