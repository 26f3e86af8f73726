"""Writes the lock files: the versions that pip resolves from both pyproject.toml.

    make lock                     what is pinned stays, as far as the requirements allow
    make lock ARGS=--upgrade      everything becomes as new as the requirements allow

The test set holds all the others, so it is resolved first and the rest is bound by it: one version per package
everywhere. The files name no registry and no path, so they install from whichever registry a machine uses.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WIDEST = "requirements-test.lock"
LOCKS: dict[str, tuple[str, ...]] = {
    WIDEST: ("brokerage", "test", "bench"),
    "requirements.lock": (),
    "requirements-brokerage.lock": ("brokerage",),
    "requirements-bench.lock": ("brokerage", "bench"),
}
"""Lock file -> what it holds beside the router's own requirements; the first binds the others."""


def main() -> None:
    """Writes every lock file, and prints what each holds and what changed in the widest."""
    parser = argparse.ArgumentParser(prog="make lock", description="Writes the lock files.")
    parser.add_argument("--upgrade", action="store_true", help="keep no version that is pinned now")
    upgrade = parser.parse_args().upgrade
    before = read(ROOT / WIDEST)
    with tempfile.TemporaryDirectory(prefix="trifolio-lock-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "Scripts" if sys.platform == "win32" else "bin", "python"))
        bounds = {} if upgrade else kept(python, before, requirements(LOCKS[WIDEST]))
        for name, parts in LOCKS.items():
            pins = resolve(python, requirements(parts), bounds)
            if name == WIDEST:
                bounds = pins
            write(ROOT / name, parts, pins)
            print(f"{name}: {len(pins)} packages")
    for package in sorted({*before, *bounds}, key=str.lower):
        if before.get(package) != bounds.get(package):
            print(f"  {package}: {before.get(package, 'none')} -> {bounds.get(package, 'none')}")


def requirements(parts: tuple[str, ...]) -> list[str]:
    """What the router's build and the router with all its extras need, and these parts: `brokerage`, or a dependency
    group's name."""
    router = tomllib.loads((ROOT / "router" / "pyproject.toml").read_text())
    application = tomllib.loads((ROOT / "pyproject.toml").read_text())
    brokerage = [each for each in application["project"]["dependencies"] if each != router["project"]["name"]]
    groups = {**application["dependency-groups"], "brokerage": brokerage}
    return [
        # Locked too: the editable install builds without an environment of its own.
        *router["build-system"]["requires"],
        *router["project"]["dependencies"],
        *(requirement for extra in router["project"]["optional-dependencies"].values() for requirement in extra),
        *(requirement for part in parts for requirement in groups[part]),
    ]


def kept(python: str, pins: dict[str, str], wanted: list[str]) -> dict[str, str]:
    """The pins, with a new version wherever a requirement does not permit the old one or a package is new.

    pip leaves alone what is installed and permitted, so the old pins are installed and pip is asked what it would
    change. As constraints they would do for nothing else: pip gives up where one cannot be met.
    """
    if not pins:
        return {}
    pinned = [f"{name}=={version}" for name, version in pins.items()]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *pinned], check=True)
    return pins | would_install(python, wanted)


def resolve(python: str, wanted: list[str], bounds: dict[str, str]) -> dict[str, str]:
    """Every package that a fresh environment would get, with its version."""
    with tempfile.TemporaryDirectory(prefix="trifolio-lock-") as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in bounds.items()))
        return would_install(python, ["--ignore-installed", "--constraint", str(constraints), *wanted])


def would_install(python: str, arguments: list[str]) -> dict[str, str]:
    """What `pip install` would install, by its own report; nothing is installed."""
    report = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    packages = [each["metadata"] for each in json.loads(report.stdout)["install"]]
    return {each["name"]: each["version"] for each in packages}


def read(path: Path) -> dict[str, str]:
    """A lock file's pins; none where there is no file yet."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def write(path: Path, parts: tuple[str, ...], pins: dict[str, str]) -> None:
    """Writes one lock file, sorted by name without regard to case."""
    what = ", ".join(("router", *parts))
    lines = "".join(f"{name}=={pins[name]}\n" for name in sorted(pins, key=str.lower))
    path.write_text(f"# Pinned versions of {what}; made by 'make lock'.\n{lines}")


if __name__ == "__main__":
    main()
