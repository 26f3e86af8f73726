"""What is measured when clocks are set."""

from subgraphs.shared.clocks import STEP_S, WAITING_MAX, ClockWatch, Patience


class Hand:
    """A clock in seconds that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_step_is_counted_once_and_drift_is_none() -> None:
    """Both directions count; what a clock is slewed by while time passes does not."""
    wall, monotonic = Hand(), Hand()
    watch = ClockWatch(wall=wall, monotonic=monotonic)
    for passed, off in ((1.0, 0.0), (1.0, 0.4), (600.0, -STEP_S)):
        wall.now += passed + off
        monotonic.now += passed
        assert watch.look() == 0.0
    for count, off in enumerate((-60.0, 60.0, 3_600.0), start=1):
        wall.now += 1.0 + off
        monotonic.now += 1.0
        assert abs(watch.look() - off) < 0.001
        assert watch.look() == 0.0
        assert watch.steps == count


def test_waiting_is_measured_from_the_first_look() -> None:
    """A row's waiting grows with the monotonic clock, and begins anew when it was forgotten."""
    monotonic = Hand()
    patience = Patience(monotonic=monotonic)
    assert patience.waited_ms("a") == 0
    monotonic.now += 31
    assert patience.waited_ms("a") == 31_000
    assert patience.waited_ms("b") == 0
    patience.forget("a")
    assert patience.waited_ms("a") == 0


def test_so_many_rows_are_measured_and_no_more() -> None:
    """Beyond the limit the one that was seen first makes room."""
    monotonic = Hand()
    patience = Patience(monotonic=monotonic)
    for number in range(WAITING_MAX + 1):
        patience.waited_ms(str(number))
    monotonic.now += 1
    assert (patience.waited_ms(str(WAITING_MAX)), patience.waited_ms("0")) == (1_000, 0)
