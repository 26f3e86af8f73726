"""The command line of the benchmarks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import results
from bench.processes import NotMeasured


def test_what_cannot_be_measured_is_said_before_anything_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A part that there is not, and other routers that nobody has named or that no file knows."""
    with pytest.raises(SystemExit, match="2"):
        command.main(["nonsense"])
    assert "nonsense is none of: answers, connections," in capsys.readouterr().err
    for arguments in (["start", "beside"], ["beside", "--peers", "nobody"]):
        with pytest.raises(NotMeasured, match="name other routers with --peers: apollo, grafbase"):
            command.main(arguments)


def test_what_is_wrong_with_one_part_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures are missing, the others are kept with their run, and the run has failed."""

    async def wrong(*_: object) -> None:
        raise NotMeasured("request 3: status 500")

    async def right(_mocks: object, times: int, report: Callable[[dict[str, Any]], None]) -> None:
        report({"part": "start", "title": "start", "median_ms": 5.0, "times": times})

    kept = tmp_path / "results.jsonl"
    monkeypatch.setattr(command, "measure_pace", wrong)
    monkeypatch.setattr(command, "measure_start", right)
    monkeypatch.setattr(results.append, "__defaults__", (kept,))
    assert command.main(["pace", "start", "--pairs", "2"]) == 1
    (figure,) = results.read(kept)
    assert (figure["part"], figure["times"]) == ("start", 2)
    assert figure["run"]["command"] == 'make bench ARGS="pace start --pairs 2"'
    assert "pace: request 3: status 500" in capsys.readouterr().out
