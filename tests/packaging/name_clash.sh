#!/usr/bin/env bash
# A project that has modules called router, subgraphs and brokerage of its own installs our wheel and runs its tests:
#
#   name_clash.sh WHEEL PYTHON        makes its files in the working directory; needs a package registry
#
# Plain pytest and python -m pytest, each with and without `pythonpath` in the project's pytest configuration.
set -euo pipefail
wheel=$1
python=$2

"$python" -m venv environment
environment/bin/python -m pip install --quiet --disable-pip-version-check "$wheel" pytest

# All that the wheel may put beside the project's own modules. (site-packages has no other name of ours.)
environment/bin/python - "$wheel" <<'PYTHON'
import sys
import zipfile

names = {name.partition("/")[0] for name in zipfile.ZipFile(sys.argv[1]).namelist()}
packages = {name for name in names if not name.endswith(".dist-info")}
assert packages == {"trifolio"}, f"the wheel has the top-level names {sorted(packages)}"
assert len(names) == 2, f"the wheel has the top-level names {sorted(names)}"
PYTHON

# A project in two layouts: with `pythonpath`, and with a conftest.py whose folder pytest puts on the path by itself.
for layout in configured discovered; do
  mkdir -p "$layout/subgraphs" "$layout/tests"
  echo 'def routes(): return ["/", "/orders"]' >"$layout/router.py"
  echo 'NAMES = ("catalogue", "basket")' >"$layout/subgraphs/__init__.py"
  echo 'PORT = 7001' >"$layout/subgraphs/basket.py"
  echo 'def fee(amount): return amount // 100' >"$layout/brokerage.py"
done
printf '[tool.pytest.ini_options]\npythonpath = ["."]\ntestpaths = ["tests"]\n' >configured/pyproject.toml
printf '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n' >discovered/pyproject.toml
echo '"""Here, so that pytest finds the modules beside it."""' >discovered/conftest.py

for layout in configured discovered; do
  cat >"$layout/tests/test_own_modules.py" <<'PYTHON'
from pathlib import Path

import brokerage
import router
import subgraphs
from subgraphs import basket

PROJECT = Path(__file__).resolve().parents[1]


def test_the_modules_are_the_projects_own():
    files = [Path(module.__file__).resolve() for module in (router, subgraphs, basket, brokerage)]
    names = ("router.py", "subgraphs/__init__.py", "subgraphs/basket.py", "brokerage.py")
    assert files == [PROJECT / name for name in names]


def test_the_modules_do_what_they_are_for():
    assert router.routes() == ["/", "/orders"]
    assert subgraphs.NAMES == ("catalogue", "basket")
    assert basket.PORT == 7001
    assert brokerage.fee(250) == 2
PYTHON
  cat >"$layout/tests/test_graph.py" <<'PYTHON'
import asyncio

from graphql import build_schema

LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])'
PROTOCOL = "scalar _Any union _Entity = Product type _Service { sdl: String! }"
SERVICE = "_service: _Service! _entities(representations: [_Any!]!): [_Entity]!"


def subgraph(query, product, top, entity):
    """A schema of graphql-core that answers what federation asks of a subgraph."""
    schema = build_schema(f"type Query {{ {query} {SERVICE} }} type Product {{ {product} }} {PROTOCOL}")
    sdl = f'{LINK} type Query {{ {query} }} type Product @key(fields: "id") {{ {product} }}'
    fields = schema.query_type.fields
    fields["_service"].resolve = lambda *_: {"sdl": sdl}
    fields["_entities"].resolve = lambda _source, _info, representations: [
        {"__typename": "Product", **entity(each["id"])} for each in representations
    ]
    for name in top:
        fields[name].resolve = lambda *_, name=name: top[name]
    return schema


def test_two_schemas_are_one_graph(federate):
    catalogue = subgraph("best: Product", "id: ID! name: String", {"best": {"id": "p1", "name": "Lamp"}}, dict)
    basket = subgraph("open: Boolean", "id: ID! price: Int", {"open": True}, lambda key: {"id": key, "price": 40})
    graph = federate({"catalogue": catalogue, "basket": basket})
    response = asyncio.run(graph.execute("{ best { name price } open }"))
    assert response.to_json() == {"data": {"best": {"name": "Lamp", "price": 40}, "open": True}}
PYTHON
done

run() {
  echo "== $*"
  (cd "$layout" && "$@" -q -p no:cacheprovider) | tee said
  grep -q '^3 passed' said
}
export PYTHONDONTWRITEBYTECODE=1
for layout in configured discovered; do
  run ../environment/bin/pytest
  run ../environment/bin/python -m pytest
done
