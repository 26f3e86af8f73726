"""What a measurement was made on and with."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("trifolio", "graphql-core", "httptools", "msgspec", "orjson", "uvicorn", "uvloop")
BROKERAGE_PACKAGES = ("aiohttp", "fastapi", "sqlalchemy", "strawberry-graphql", "aiosqlite")


def about(command: str) -> dict[str, Any]:
    """The day, the machine, the versions, the commit and the command, as JSON values."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
            "kernel": f"{platform.system()} {platform.release()}",
            "load": round(os.getloadavg()[0], 1),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in (*PACKAGES, *BROKERAGE_PACKAGES)},
        },
        "commit": _commit(),
        "command": command,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _commit() -> str:
    """The commit, with a plus where files were changed since; empty where git knows nothing."""
    commands = ("git", "rev-parse", "--short", "HEAD"), ("git", "status", "--porcelain", "--untracked-files=no")
    commit, changes = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        for command in commands
    )
    return f"{commit}+" if commit and changes else commit
