"""Files that nobody would write on purpose: whatever stands in one, it is read or refused with a line."""

import random
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from trifolio.config import CompositionConfig, Config, examine_config, parse_config
from trifolio.config.json_schema import json_schema
from trifolio.config.reader import FREE_VALUES_MAX, NESTED_MAX, Reading
from trifolio.config.reader import parse as parse_as
from trifolio.errors import ConfigError

PLUGIN = "plugins:\n- python: a:B\n  x: "

WILD = {
    "a truth that is none": ("access_log: !!bool maybe\n", 1, "'maybe' is no bool"),
    "a number of no digits": ("trusted_proxies: !!int ''\n", 1, "'' is no int"),
    "a number of a sign": ("trusted_proxies: !!int '-'\n", 1, "'-' is no int"),
    "a fraction of a stroke": ("trusted_proxies: !!float '_'\n", 1, "'_' is no float"),
    "a time that is none": ("explorer_title: !!timestamp soon\n", 1, "'soon' is no timestamp"),
    "a day that no month has": ("explorer_title: 2020-13-45\n", 1, "cannot be read"),
    "a date for a text": ("explorer_title: 2020-01-01\n", 1, "not 2020-01-01; put it in quotes"),
    "a truth for a text": ("explorer_title: yes\n", 1, "not true; put it in quotes"),
    "nothing for a truth": ("access_log:\n", 1, "not null"),
    "half a character": ('explorer_title: "\\ud800"\n', 1, "a character that no text has"),
    "half a character in a key": ('limits: {"\\ud800": 1}\n', 1, "a character that no text has"),
    "half a character in an option": (PLUGIN + '"\\ud800"\n', 3, "a character that no text has"),
    "a NUL in a file's name": ('subgraphs: {a: {secret: {file: "\\0"}}}\n', 1, "a character that no text has"),
    "a NUL": ("access_log: true\nexplorer: \0\n", 2, "not YAML: special characters are not allowed"),
    "a line in a key": ('limits: {"a\\nb": 1}\n', 1, "unknown key 'a\\nb'"),
    "a name of two lines": ('subgraphs: {"a\\nb": []}\n', 1, "subgraphs.'a\\nb': has to be a mapping"),
    "a list for a key": ("? [a]\n: 1\n", 1, "a key has to be a text"),
    "a list for a key of an option": (PLUGIN + "{[a]: 1}\n", 3, "a key has to be a text"),
    "a tag of others": (PLUGIN + "!vault {a: 1}\n", 3, "the tag '!vault' is not known"),
    "a tag of others at a list": ("headers: {forward: !vault [a]}\n", 1, "the tag '!vault' is not known"),
    "a tag of others at a text": (PLUGIN + "!vault a\n", 3, "could not determine a constructor for the tag '!vault'"),
    "no address in a URL": (
        "subgraphs:\n  a: {forward_headers: [authorization],\n    url: 'http://[a]/'}\n",
        3,
        "no http or https URL",
    ),
    "too deep for YAML": ("limits:\n  a: " + "[" * 5000 + "]" * 5000 + "\n", 2, "is nested too deep"),
    "too deep for an option": (PLUGIN + "[" * NESTED_MAX + "]" * NESTED_MAX + "\n", 3, "x: is nested too deep"),
    "a list that holds itself": (PLUGIN + "&x [*x]\n", 3, "x: is nested too deep"),
    "a folder's name that is too long": ("explorer: true\nexplorer_examples: " + "9" * 300, 2, "cannot be read: "),
    "a number of 5,000 digits": ("trusted_proxies: " + "9" * 5000, 1, "cannot be read"),
    "a text of 5,000 letters for a number": ("trusted_proxies: " + "a" * 5000, 1, "has to be a whole number"),
}


def examined(text: str, folder: Path = Path()) -> Reading[Config]:
    """What came of reading a router.yaml; only the rules between settings are not looked at."""
    return parse_as(text, Config, name="router.yaml", folder=folder, environment={})


@pytest.mark.parametrize(("text", "line", "problem"), WILD.values(), ids=WILD)
def test_what_nobody_would_write_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    """Wrong tags, halves of characters, what is too long or too deep: one line says what and where."""
    with pytest.raises(ConfigError) as refusal:
        parse_config(text, name="router.yaml", folder=Path(), environment={})
    [told] = map(str, refusal.value.problems)
    assert told.startswith(f"router.yaml:{line}: ")
    assert problem in told
    assert told.isprintable()
    assert len(told) < 1000


def test_a_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    """An editor that saves in another encoding is told so, with the line of the first letter that shows it."""
    (tmp_path / "router.yaml").write_bytes("access_log: true\nexplorer_title: Börse\n".encode("latin-1"))
    with pytest.raises(ConfigError) as refusal:
        examine_config(tmp_path / "router.yaml", environment={})
    assert str(refusal.value) == "router.yaml:2: is not UTF-8; save it in that encoding"


def test_aliases_of_aliases_end() -> None:
    """Ten lines in which each names the one before ten times come to billions of values, which nobody waits for."""
    lines = ["plugins:", "- python: a:B", "  a0: &a0 [x]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    [*_, problem] = examined("\n".join(lines)).problems
    assert f"has more than {FREE_VALUES_MAX:,} values" in problem.message


MERGED = {
    "from the same line": "limits: {<<: {body_bytes_max: 1000}, body_bytes_max: 2000}\n",
    "from the line below": "limits:\n  <<:\n    body_bytes_max: 1000\n  body_bytes_max: 2000\n",
    "from an anchor on the same line": "{headers: &a {forward: []}, limits: {<<: {body_bytes_max: 1}, "
    "body_bytes_max: 2000}}\n",
    "from two": "limits:\n  <<: [{body_bytes_max: 1000}, {body_bytes_max: 3000}]\n  body_bytes_max: 2000\n",
}


@pytest.mark.parametrize("text", MERGED.values(), ids=MERGED)
def test_what_a_mapping_says_itself_goes_before_what_it_merges(text: str) -> None:
    """A key beside a merge key that brings it too is no repetition, wherever the merged mapping stands."""
    value = examined(text).unwrap()
    assert value.limits.body_bytes_max == 2000


def test_a_merged_mapping_does_not_hide_a_repetition() -> None:
    """A key that stands twice in a mapping is told, also where an alias has the mapping read twice."""
    text = "subgraphs:\n  a: &a\n    timeout_ms: 1\n    timeout_ms: 2\n  b:\n    <<: *a\n    timeout_ms: 3\n"
    assert [(each.line, each.path) for each in examined(text).problems] == [(4, "subgraphs.a")]


BOTH = {
    "federation 1": (CompositionConfig, "federation_version: 1\nsubgraphs: {a: {schema: {subgraph_url: 'http://a'}}}"),
    "federation 2": (CompositionConfig, "federation_version: 2\nsubgraphs: {a: {schema: {subgraph_url: 'http://a'}}}"),
    "federation 3": (CompositionConfig, "federation_version: 3\nsubgraphs: {a: {schema: {subgraph_url: 'http://a'}}}"),
    "a scheme in capitals": (Config, "subgraphs: {a: {url: 'HTTPS://a'}}"),
    "a number for a URL": (Config, "subgraphs: {a: {url: 80}}"),
    "a number for an origin": (Config, "cors: {origins: [80]}"),
    "a number for a header": (Config, "headers: {forward: [80]}"),
}


@pytest.mark.parametrize(("cls", "text"), BOTH.values(), ids=BOTH)
def test_editors_and_the_reader_agree(cls: type, text: str) -> None:
    """What the JSON Schema allows is read, and what it does not allow is refused: numbers too."""
    reading: Reading[object] = parse_as(text, cls, name="x.yaml", folder=Path(), environment={})
    assert Draft202012Validator(json_schema(cls, title="x")).is_valid(yaml.safe_load(text)) == (not reading.problems)


LINES = """\
subgraphs:
  users: {url: "http://users/graphql", timeout_ms: 100, forward_headers: [authorization], secret: {file: secret}}
  stocks:
    url: https://u:p@stocks:8080/graphql
headers: {forward: [authorization, x-tenant]}
limits: {fetch_timeout_ms: 5000, operation_timeout_ms: 10000}
cors: {origins: ["https://a.example"], credentials: true, allow_headers: [authorization], max_age_s: 60}
override: {labels: {beta: true, gamma: false}, sticky_header: x-user}
trusted_proxies: 1
explorer: true
explorer_title: Hello
explorer_examples: examples
plugins:
  - python: my.mod:Thing
    b: {c: [1, 2, null]}
"""
PIECES = [
    *(
        "~",
        "yes",
        "0x10",
        "1e3",
        ".nan",
        "-.inf",
        "2020-01-01",
        "2020-13-45",
        "190:20:30",
        "=",
        "<<",
        "[",
        "{",
        "[]",
        "{}",
    ),
    *(
        "*a",
        "&a 1",
        "&a [*a]",
        "&a {b: *a}",
        "{<<: {a: 1}}",
        "{<<: [1]}",
        "{<<: *a}",
        "? [a, b]",
        "{? {} : 2}",
        "{null: 1}",
    ),
    *(
        "!foo bar",
        "!!binary '***'",
        "!!set {a}",
        "!!omap [a: 1]",
        "!!str []",
        "!!map []",
        "!!int _",
        "!!float .",
        "!!bool x",
    ),
    *(
        "${NOPE}",
        "${X:-}",
        "${X:-5}",
        "'",
        '"',
        "\t",
        "\0",
        "é",
        "\u2028",
        "\ufeff",
        '"\\0"',
        '"\\ud800"',
        "|",
        "%",
        "@",
        "`",
    ),
    *(
        "http://[",
        "http://[a]/",
        "http://a:b",
        "http://a:-1",
        "http://é",
        "9" * 5000,
        "-1",
        "---",
        "\n",
        ": ",
        "#",
        ",",
        "]",
        "}",
    ),
]


@pytest.mark.parametrize("seed", range(10))
def test_mutated_files_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    """Thirty files with pieces put in, cut out and exchanged: each is read, or every problem has its line."""
    chance = random.Random(seed)
    (tmp_path / "secret").write_text("s3cret")
    for _ in range(30):
        text = LINES
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(text))
            text = text[:start] + chance.choice(PIECES) + text[start + chance.choice([0, 0, 1, 3, 8]) :]
        try:
            parse_config(text, name="router.yaml", folder=tmp_path, environment={})
        except ConfigError as error:
            lines = text.count("\n") + text.count("\u2028") + 2
            for problem in error.problems:
                assert problem.line is not None, text
                assert 1 <= problem.line <= lines, text
                str(problem).encode()
                assert "\n" not in str(problem), text
