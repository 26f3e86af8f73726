"""`make mutants`: single mistakes planted in the services, and which test catches each.

A suite that proves something must fail when the thing is broken. Each mutant is a small change of source text, made in
a temporary copy of the project; then the tests that guard the sagas run until one fails. A mutant that no test catches,
or whose text is no longer there, ends the run with exit code 1.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("brokerage", "router", "subgraphs", "tests", "pyproject.toml", "supergraph.graphql", "supergraph.yaml")
RUN_TIMEOUT_S = 900
CRASHES = "tests/faults/test_crashes.py"
NETWORK = "tests/faults/test_network.py"
MODEL = "tests/faults/test_model.py"
RACES = "tests/faults/test_races.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in one file; `old` stands there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake, and the tests to ask, the quickest first."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the result of void is ignored",
        (
            Edit(
                "subgraphs/stocks/saga.py",
                "            await self._peers.wallet.void(order)\n        return await self.steps.give_back",
                "            await asyncio.gather(self._peers.wallet.void(order), return_exceptions=True)\n"
                "        return await self.steps.give_back",
            ),
        ),
        (NETWORK, CRASHES),
    ),
    Mutant(
        "close leaves no tombstone",
        (
            Edit(
                "subgraphs/wallet/rules_operations.py",
                '            return _commitment_gate(operation, operation.id, operation.broker_id, "closed")',
                "            return None",
            ),
            Edit(
                "subgraphs/wallet/rules_operations.py",
                "    commitment = standing.accounts[commitment_account_id(operation.id)]\n"
                "    _require_match(commitment, operation)\n    target",
                "    commitment = standing.account(commitment_account_id(operation.id))\n"
                "    if commitment is None:\n"
                "        user = available_account(operation.investor_id, operation.currency)\n"
                '        return Decision(_result(operation, "closed", 0, user))\n'
                "    target",
            ),
        ),
        ("tests/wallet/test_operations.py", "tests/wallet/test_journal_properties.py", NETWORK),
    ),
    Mutant(
        "a repeated settlement settles again",
        (
            Edit(
                "subgraphs/wallet/service.py",
                "    if not claimed:\n        stored = await store.stored_operation(",
                '    if not claimed and operation.op != "credit":\n        stored = await store.stored_operation(',
            ),
        ),
        ("tests/wallet/test_operations.py", NETWORK, CRASHES),
    ),
    Mutant(
        "an unreachable wallet counts as success",
        (
            Edit(
                "subgraphs/shared/peers.py",
                '            raise PeerUnavailable(f"{self._name}: {error}") from error',
                '            if method == "PUT":\n                return {}\n'
                '            raise PeerUnavailable(f"{self._name}: {error}") from error',
            ),
        ),
        (NETWORK, CRASHES),
    ),
    Mutant(
        "a repeated request makes another order",
        (
            Edit(
                "subgraphs/stocks/service_orders.py",
                "PlaceRequest(key.object_id,",
                'PlaceRequest(str(__import__("uuid").uuid4()),',
            ),
        ),
        ("tests/stocks", NETWORK, CRASHES),
    ),
    Mutant(
        "nobody drives unfinished orders",
        (
            Edit(
                "subgraphs/shared/driving.py",
                "                await self.step()\n                due_ms = await self._saga.due_in_ms()",
                "                due_ms = await self._saga.due_in_ms()",
            ),
        ),
        (f"{CRASHES}::test_client_gone",),
    ),
    Mutant(
        "balances are written as absolute numbers",
        (
            Edit(
                "subgraphs/wallet/store.py",
                '.values(balance=accounts.c.balance + bindparam("delta", type_=BigInteger))',
                '.values(balance=bindparam("delta", type_=BigInteger))',
            ),
            Edit(
                "subgraphs/wallet/store.py",
                '{"account": line.account.id, "delta": line.amount}',
                '{"account": line.account.id, "delta": line.account.balance + line.amount}',
            ),
        ),
        ("tests/wallet/test_operations.py", "tests/wallet/test_journal_properties.py"),
    ),
    Mutant(
        "the hold leaves the fees out",
        (
            Edit(
                "subgraphs/stocks/rules_intents.py",
                "    held = settle_buy(intent.quantity, hold_price(intent, quote), currency, rates).paid",
                "    held = settle_buy(intent.quantity, hold_price(intent, quote), currency, rates).cost",
            ),
        ),
        ("tests/stocks", MODEL, NETWORK),
    ),
    Mutant(
        "a tick triggers what was triggered before",
        (
            Edit(
                "subgraphs/stocks/store_orders.py",
                "        orders.c.state == OrderState.WORKING.value,\n"
                '        orders.c.after_seq < bindparam("seq", type_=BigInteger),\n',
                '        orders.c.after_seq < bindparam("seq", type_=BigInteger),\n',
            ),
            Edit(
                "subgraphs/stocks/service_market.py",
                "order.state is OrderState.WORKING and await _cross",
                "await _cross",
            ),
        ),
        ("tests/stocks", MODEL),
    ),
    Mutant(
        "void leaves no tombstone",
        (
            Edit(
                "subgraphs/wallet/rules_operations.py",
                '            return _hold_gate(operation, "voided", None)',
                '            return _hold_gate(operation, "open", None)',
            ),
            Edit(
                "subgraphs/wallet/rules_operations.py",
                'shut=((hold.id, "voided"),),\n    )\n\n\ndef _credit',
                ")\n\n\ndef _credit",
            ),
            Edit(
                "subgraphs/wallet/rules_operations.py",
                "    if not standing.fresh:\n        return Decision(HOLD_VOIDED)\n",
                "",
            ),
        ),
        ("tests/wallet/test_operations.py", "tests/wallet/test_journal_properties.py", NETWORK),
    ),
    Mutant(
        "a rollover is computed again for every call",
        (
            Edit(
                "subgraphs/users/service_authorizations.py",
                "str(uuid.uuid5(CHILD_NAMESPACE, rollover.order_id))",
                "str(uuid.uuid4())",
            ),
        ),
        (f"{CRASHES}::test_crash_leaves_no_trace",),
    ),
)


def main() -> int:
    """Plants every mutant in turn; returns 0 when each was caught."""
    missed = 0
    for mutant in MUTANTS:
        caught_by = _first_failure(mutant)
        missed += caught_by is None
        _say(f"{mutant.name}: {'MISSED' if caught_by is None else caught_by}")
    _say(f"{len(MUTANTS) - missed} of {len(MUTANTS)} caught")
    return 1 if missed else 0


def _first_failure(mutant: Mutant) -> str | None:
    """The first test that fails with the mistake planted, None when all pass."""
    with tempfile.TemporaryDirectory(prefix="trifolio-mutant-") as name:
        folder = Path(name)
        _copy_project(folder)
        _plant(folder, mutant.edits)
        for test in mutant.tests:
            failed = _failed_test(folder, test)
            if failed is not None:
                return failed
    return None


def _copy_project(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "explorer_files"))
        else:
            shutil.copy(source, folder / name)


def _plant(folder: Path, edits: Sequence[Edit]) -> None:
    for edit in edits:
        path = folder / edit.file
        text = path.read_text()
        if text.count(edit.old) != 1:
            raise SystemExit(f"{edit.file} does not hold this text exactly once:\n{edit.old}")
        path.write_text(text.replace(edit.old, edit.new))


def _failed_test(folder: Path, test: str) -> str | None:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
    try:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{test} (it never ended)"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
    if run.returncode == 0:
        return None
    return failed.group(1) if failed else f"{test} (exit code {run.returncode})"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
