"""`make interop`: Apollo's tools on our schemas. It needs Node 20 and npm; nothing of it is needed at run time.

1. `@apollo/composition` composes the three subgraphs without an error.
2. `@apollo/query-planner` and `@graphql-hive/router-query-planner` load our supergraph and all of the composer cases.
3. `@apollo/gateway` serves our supergraph.graphql, and answers as our router does, over the same running services.
4. `@apollo/client` reads our answers in parts, in both formats, to what the operations answer without @defer.
5. `graphql-ws`, `graphql-sse`, `@apollo/client`, `urql` and Python's `gql` subscribe, and get the same hundred events
   each, whatever the protocol by which the router subscribes at the subgraph.

Random sets of subgraphs are judged by the first two: `python -m tests.composer --judges`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.interop.client import client_problems
from bench.interop.subscribing import subscription_problems
from brokerage import SERVICE_NAMES
from brokerage.demo import fetch_token, seed
from brokerage.development import ROOT, SUPERGRAPH, Development
from brokerage.services import migrate_service
from brokerage.supervisor import running
from trifolio.config import read_composition_config

HERE = Path(__file__).parent
PORT = 4400


@dataclass(frozen=True, slots=True)
class Question:
    """An operation to ask both; `variables` are JSON values."""

    query: str
    variables: Mapping[str, object]
    name: str


QUESTIONS = [
    Question("query Market { stocks(first: 30) { edges { node { id symbol name price currency } } } }", {}, "market"),
    Question("{ users(first: 5) { edges { node { id name type registeredAt } } } }", {}, "users"),
    Question('{ stock(symbol: "FJRD") { symbol name day { open high low } } nope: __typename }', {}, "one stock"),
    Question("{ me { netWorth { currency amount } portfolioValue { currency amount } } }", {}, "@requires"),
    Question(
        "{ me { authorizations(first: 5) { edges { node { id type amount remainingCapital { amount } remainingQuantity"
        " stock { symbol } broker { name balances { total } } } } } } }",
        {},
        "mandates, and what is a broker's own",
    ),
    Question(
        "query ($id: ID!, $own: Boolean!) { user(id: $id) { name email @include(if: $own) balances { total } } }",
        {"id": "00000000-0000-0000-0000-000000000000", "own": True},
        "nobody",
    ),
    Question(
        "mutation ($input: DepositInput!) {"
        " deposit(input: $input) { transaction { amount currency } errors { code } } }",
        {"input": {"currency": "EUR", "amount": "0.001", "idempotencyKey": "interop"}},
        "a refused mutation",
    ),
]


def main() -> int:
    """Prints what was compared; returns 1 where something differs."""
    subprocess.run(["npm", "ci", "--silent"], cwd=HERE, check=True)
    errors = composition_errors()
    print(f"@apollo/composition: {len(SERVICE_NAMES)} subgraphs, {len(errors)} errors", *errors, sep="\n  ")
    failures = load_failures()
    print(f"planners of Apollo and Hive: {len(failures)} supergraphs not loaded", *failures, sep="\n  ")
    problems = asyncio.run(client_problems(HERE))
    print(f"@apollo/client: {len(problems)} problems", *problems, sep="\n  ")
    unheard = asyncio.run(subscription_problems(HERE))
    print(f"clients that subscribe: {len(unheard)} problems", *unheard, sep="\n  ")
    with tempfile.TemporaryDirectory(prefix="trifolio-interop-") as folder:
        development = Development(Path(folder), port=PORT)
        development.prepare()
        for service in SERVICE_NAMES:
            migrate_service(service, development.database_url(service))
        # Prices stand still, so that two answers can be compared.
        os.environ["TRIFOLIO_FEED"] = "manual"
        differences = asyncio.run(compare_answers(development))
    return 1 if errors or failures or problems or unheard or differences else 0


def composition_errors() -> list[str]:
    """What Apollo's composition refuses in the subgraphs of supergraph.yaml."""
    config = read_composition_config(ROOT / "supergraph.yaml", environment={})
    places = [f"{name}={source.url}={ROOT / str(source.schema.file)}" for name, source in config.subgraphs.items()]
    done = subprocess.run(["node", "compose.mjs", *places], cwd=HERE, capture_output=True, text=True, check=True)
    errors: list[str] = json.loads(done.stdout)["errors"]
    return errors


def load_failures() -> list[str]:
    """What the two query planners say against our supergraphs."""
    files = [SUPERGRAPH, *sorted((ROOT / "tests" / "composer" / "cases").glob("*/supergraph.graphql"))]
    command = ["node", "load.mjs", *(str(file) for file in files)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
    failures: list[str] = json.loads(done.stdout)["failures"]
    return failures


async def compare_answers(development: Development) -> int:
    """Asks both routers the same over the same services; prints and counts the answers that differ."""
    examples = sorted((ROOT / "docs" / "examples").glob("[34]0-*.graphql"))
    questions = [*(example(path) for path in examples), *QUESTIONS]
    async with running(development.process_specs()), httpx.AsyncClient(trust_env=False) as client:
        await seed(development.urls)
        headers = {"authorization": f"Bearer {await fetch_token(development.urls, 'alice')}"}
        gateway = await start_gateway(development)
        differences = 0
        for question in questions:
            for sent in (headers, {}):
                body = {"query": question.query, "variables": question.variables}
                ours = (await client.post(f"{development.urls['router']}/graphql", json=body, headers=sent)).json()
                theirs = await ask_gateway(gateway, {**body, "headers": sent})
                same = comparable(ours) == comparable(theirs)
                differences += not same
                verdict = "same     " if same else "DIFFERENT"
                print(f"@apollo/gateway: {verdict} {question.name}, {'a user' if sent else 'nobody'}")
                if not same:
                    print(f"  ours   {json.dumps(ours)}\n  theirs {json.dumps(theirs)}")
        gateway.terminate()
        await gateway.wait()
    return differences


def example(path: Path) -> Question:
    """An example of the documentation."""
    variables = path.with_suffix(".json")
    return Question(path.read_text(), json.loads(variables.read_text()) if variables.exists() else {}, path.stem)


async def start_gateway(development: Development) -> Process:
    """Apollo's gateway on our supergraph, with the ways to the running services."""
    secrets = {
        name: (development.folder / "secrets" / f"{name}_router_secret").read_text().strip() for name in SERVICE_NAMES
    }
    places = [f"{name}={development.urls[name]}/graphql={secrets[name]}" for name in SERVICE_NAMES]
    command = ("node", "gateway.mjs", str(SUPERGRAPH), *places)
    # Its telemetry would look for a cloud around it.
    environment = {**os.environ, "METADATA_SERVER_DETECTION": "none"}
    gateway = await asyncio.create_subprocess_exec(*command, cwd=HERE, stdin=PIPE, stdout=PIPE, env=environment)
    assert gateway.stdout is not None
    while await gateway.stdout.readline() not in {b"ready\n", b""}:
        pass
    return gateway


async def ask_gateway(gateway: Process, request: Mapping[str, object]) -> Any:
    """Its answer to one operation."""
    assert gateway.stdin is not None
    assert gateway.stdout is not None
    gateway.stdin.write(json.dumps(request).encode() + b"\n")
    return json.loads(await gateway.stdout.readline())


def comparable(answer: Mapping[str, Any]) -> object:
    """What both have to agree on: the data, and where which code stands in the errors. Texts are each router's own."""
    errors = answer.get("errors", [])
    places = sorted(json.dumps([error.get("path"), error["extensions"]["code"]]) for error in errors)
    return answer.get("data"), places


if __name__ == "__main__":
    sys.exit(main())
