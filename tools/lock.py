"""Writes the lock files: the versions that pip resolves from both pyproject.toml, each set in a fresh environment.

The test set holds all the others, so it is resolved first and the rest is bound by it: one version per package
everywhere. The files name no registry and no path, so they install from whichever registry a machine uses.
"""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

LOCKS: dict[str, tuple[str, ...]] = {
    "requirements-test.lock": ("brokerage", "test", "bench"),
    "requirements.lock": (),
    "requirements-brokerage.lock": ("brokerage",),
    "requirements-bench.lock": ("brokerage", "bench"),
}
"""Lock file -> what it holds beside the router's own requirements; the first binds the others."""


def main() -> None:
    """Writes every lock file, and prints what each holds."""
    bound_by: Path | None = None
    for name, parts in LOCKS.items():
        path = ROOT / name
        versions = resolve(requirements(parts), bound_by)
        what = ", ".join(("router", *parts))
        path.write_text(f"# Pinned versions of {what}; made by 'make lock'.\n" + "".join(f"{v}\n" for v in versions))
        bound_by = bound_by or path
        print(f"{name}: {len(versions)} packages")


def requirements(parts: tuple[str, ...]) -> list[str]:
    """What the router's build and the router need, and these parts: `brokerage`, or a dependency group's name."""
    router = tomllib.loads((ROOT / "router" / "pyproject.toml").read_text())
    application = tomllib.loads((ROOT / "pyproject.toml").read_text())
    brokerage = [each for each in application["project"]["dependencies"] if each != router["project"]["name"]]
    groups = {**application["dependency-groups"], "brokerage": brokerage}
    return [
        *router["build-system"]["requires"],
        *router["project"]["dependencies"],
        *(requirement for part in parts for requirement in groups[part]),
    ]


def resolve(wanted: list[str], bound_by: Path | None) -> list[str]:
    """Installs into a fresh environment and returns `name==version` lines, sorted by name without regard to case."""
    with tempfile.TemporaryDirectory(prefix="trifolio-lock-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "Scripts" if sys.platform == "win32" else "bin", "python"))
        bounds = ["--constraint", str(bound_by)] if bound_by else []
        subprocess.run([python, "-m", "pip", "install", "--quiet", *bounds, *wanted], check=True)
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze", "--all", "--exclude", "pip"], check=True, capture_output=True, text=True
        )
    return sorted(frozen.stdout.split("\n")[:-1], key=lambda line: line.partition("==")[0].lower())


if __name__ == "__main__":
    main()
