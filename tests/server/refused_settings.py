"""Settings that are refused: each a router.yaml, the line to mend, and a part of what is said.

The command line, the reader and, where one value says it all, the JSON Schema are tested with the same tables.
"""

from collections.abc import Mapping

Case = tuple[str, int, str]


def forwarding(name: str, problem: str) -> Case:
    return (f"headers:\n  forward: [authorization, {name}]\n", 2, problem)


def allowing(name: str, problem: str) -> Case:
    return (f"cors:\n  origins: ['https://a.example']\n  allow_headers:\n  - {name}\n", 4, problem)


def origin(text: str, problem: str) -> Case:
    return (f"cors:\n  credentials: true\n  origins:\n  - https://a.example\n  - {text}\n", 5, problem)


def limits(**values: int) -> str:
    return "limits:\n" + "".join(f"  {name}: {value}\n" for name, value in values.items())


BY_FORM: Mapping[str, Case] = {
    # What is no header, or never comes.
    "a pattern for headers": forwarding("x-*", "patterns are not supported"),
    "a star for headers": forwarding("'*'", "patterns are not supported"),
    "an expression for headers": forwarding("'^x-.*$'", "patterns are not supported"),
    "a header with a space": forwarding("x user", "no header's name"),
    "a header with a colon": forwarding("'x-user:'", "no header's name"),
    "a header of no letters": forwarding("''", "no header's name"),
    "a header beyond ASCII": forwarding("x-größe", "no header's name"),
    "a header of the connection": forwarding("connection", "belongs to the client's connection"),
    "a header of the framing": forwarding("transfer-encoding", "belongs to the client's connection"),
    "a header of the body": forwarding("content-type", "the router says itself"),
    "the router's secret": forwarding("x-router-secret", "it is the router's own"),
    "a header twice": forwarding("authorization", "stands here twice"),
    "a pattern at a subgraph": ("subgraphs:\n  users:\n    forward_headers: [x-*]\n", 3, "patterns are not supported"),
    "a sticky header with a space": ("override:\n  sticky_header: x user\n", 2, "no header's name"),
    "a sticky header by pattern": ("override:\n  sticky_header: x-*\n", 2, "patterns are not supported"),
    # What a browser never says.
    "a pattern for pages": allowing("x-*", "patterns are not supported"),
    "a cookie from pages": allowing("cookie", "set credentials instead"),
    "a header of the browser's": allowing("origin", "set by browsers alone"),
    "a header that pages cannot read": (
        "cors:\n  origins: ['*']\n  expose_headers: [set-cookie]\n",
        3,
        "never shown to pages",
    ),
    "an origin with a slash": origin("https://b.example/", "write 'https://b.example'"),
    "an origin with a path": origin("https://b.example/app", "write 'https://b.example'"),
    "an origin with a query": origin("https://b.example?a", "write 'https://b.example'"),
    "an origin with a pattern": origin("'http://localhost:*'", "one exact origin"),
    "an origin with a pattern in its host": origin("'https://*.b.example'", "one exact origin"),
    "an origin without a scheme": origin("b.example", "an origin is scheme://host"),
    "an origin with a user": origin("https://user:pass@b.example", "write 'https://b.example'"),
    "an origin in upper case": origin("https://B.example", "write 'https://b.example'"),
    "an origin with the port of http": origin("http://b.example:80", "write 'http://b.example'"),
    "an origin with the port of https": origin("https://b.example:443", "write 'https://b.example'"),
    "an origin of a socket": origin("wss://b.example", "write 'https://b.example'"),
    "an origin of a file": origin("file:///index.html", "no origin"),
    "the origin null": origin("'null'", "from a sandboxed frame"),
    "an age below nothing": ("cors:\n  origins: ['*']\n  max_age_s: -1\n", 3, "at least 0"),
    "an age beyond a day": ("cors:\n  origins: ['*']\n  max_age_s: 100000\n", 3, "at most 86,400"),
    # Labels.
    "a percentage": ("override:\n  labels:\n    percent(5): true\n", 3, "decided by its percentage"),
    "a percentage beyond 100": ("override:\n  labels: {percent(101): true}\n", 2, "from 0 to 100"),
    "a label with a space": ("override:\n  labels: {new checkout: true}\n", 2, "no label of an @override"),
    # The rest.
    "fewer proxies than none": ("trusted_proxies: -1\n", 1, "at least 0"),
    "more proxies than there are": ("trusted_proxies: 1000\n", 1, "at most 32"),
    "a limit of nothing": ("limits:\n  url_bytes_max: 10\n  body_bytes_max: 0\n", 3, "at least 1"),
    "a time-out of nothing": ("subgraphs:\n  users:\n    timeout_ms: 0\n", 3, "at least 1"),
    "a URL without a scheme": ("subgraphs:\n  users:\n    url: users:4001\n", 3, "no http or https URL"),
    "a URL with a fragment": ("subgraphs:\n  users:\n    url: 'http://users/#top'\n", 3, "has a fragment"),
    "an unknown key": ("explorer: true\nexplorer_titel: x\n", 2, "did you mean 'explorer_title'"),
    "a text for a switch": ("introspection: 'true'\n", 1, "true or false"),
    "a number for a list": ("headers:\n  forward: 5\n", 2, "has to be a list"),
    "a secret written out": ("subgraphs:\n  users:\n    secret: hunter2\n", 3, "never as the secret itself"),
    "a limit in words": ("limits:\n  body_bytes_max: many\n", 2, "a whole number"),
}
"""What the form of one value tells; the JSON Schema says it too."""

BY_CASE: Mapping[str, Case] = {
    "a header of the connection, in capitals": forwarding("Keep-Alive", "belongs to the client's connection"),
    "a header twice in another case": forwarding("Authorization", "stands here twice, first as 'authorization'"),
    "an origin beyond ASCII": origin("https://bücher.example", "write 'https://xn--bcher-kva.example'"),
    "an origin with a long address": origin("'http://[0:0::1]'", "write 'http://[::1]'"),
    "an origin with a port that is none": origin("https://b.example:99999", "no origin"),
    "a URL with a port that is none": ("subgraphs: {a: {url: 'http://a:99999'}}\n", 1, "no http or https URL"),
    "a browser's own family of headers": allowing("Sec-Fetch-Mode", "set by browsers alone"),
}
"""What only the reader sees: more than a pattern can say."""

BETWEEN_SETTINGS: Mapping[str, Case] = {
    "a fetch longer than the operation": (limits(fetch_timeout_ms=60_001), 2, "limits.operation_timeout_ms is 60,000"),
    "a fetch longer than a short operation": (
        limits(operation_timeout_ms=9, fetch_timeout_ms=30_000),
        3,
        "limits.operation_timeout_ms is 9",
    ),
    "connecting longer than the fetch": (
        limits(fetch_timeout_ms=9, fetch_connect_timeout_ms=10),
        3,
        "limits.fetch_timeout_ms is 9",
    ),
    "connecting longer than the operation": (
        limits(operation_timeout_ms=9, fetch_connect_timeout_ms=10),
        3,
        "limits.operation_timeout_ms is 9",
    ),
    "a subgraph slower than the operation": (
        "subgraphs:\n  users:\n    timeout_ms: 90000\n",
        3,
        "limits.operation_timeout_ms is 60,000",
    ),
    "more tokens than bytes": (limits(document_tokens_max=300_000), 2, "limits.document_bytes_max is 200,000"),
    "more levels than tokens": (limits(document_depth_max=15_001), 2, "limits.document_tokens_max is 15,000"),
    "more aliases than tokens": (limits(operation_aliases_max=15_001), 2, "limits.document_tokens_max is 15,000"),
    "more root fields than fields": (
        limits(operation_selections_max=5, operation_root_fields_max=6),
        3,
        "limits.operation_selections_max is 5",
    ),
    "more headers than bytes": (limits(header_count_max=40_000), 2, "limits.header_bytes_max is 32,768"),
    "more plans than bytes": (limits(plan_cache_entries_max=100_000_001), 2, "limits.plan_cache_bytes_max"),
    "credentials for nobody": ("cors:\n  credentials: true\n", 2, "does nothing without cors.origins"),
    "headers from nobody": ("cors:\n  allow_headers: [x-a]\n", 2, "does nothing without cors.origins"),
    "headers to nobody": ("cors:\n  origins: []\n  expose_headers: [x-a]\n", 3, "does nothing without cors.origins"),
    "an age for nobody": ("cors:\n  max_age_s: 5\n", 2, "does nothing without cors.origins"),
    "credentials for everybody": ("cors:\n  origins: ['*']\n  credentials: true\n", 2, "without credentials"),
    "everybody and somebody": ("cors:\n  origins: ['*', 'https://a.example']\n", 2, "stands alone"),
    "a star with credentials": (
        "cors:\n  origins: ['https://a.example']\n  credentials: true\n  allow_headers: ['*']\n",
        4,
        "with credentials * is no wildcard",
    ),
    "an address of nothing": ("metrics: {host: 0.0.0.0}\n", 1, "does nothing without metrics.port"),
    "sharing beside plug-ins": (
        "plugins:\n- python: acme.router:Version\nsharing:\n  queries: true\n",
        4,
        "does nothing with plug-ins",
    ),
    "a title of nothing": ("explorer: false\nexplorer_title: Shop\n", 2, "does nothing unless explorer is true"),
    "examples of nothing": ("explorer: false\nexplorer_examples: .\n", 2, "does nothing unless explorer is true"),
    "a title of what is off by default": ("explorer_title: Shop\n", 1, "does nothing unless explorer is true"),
    "examples of what is off by default": ("explorer_examples: .\n", 1, "does nothing unless explorer is true"),
    "examples from nowhere": ("explorer: true\nexplorer_examples: nowhere\n", 2, "there is no folder"),
    "examples from a file": ("explorer: true\nexplorer_examples: router.yaml\n", 2, "is no folder"),
    "examples that are none": ("explorer: true\nexplorer_examples: empty\n", 2, "has no *.graphql files"),
    "two who log in": (
        "subgraphs:\n  a:\n    url: http://user:pass@a.example\n    forward_headers: [Authorization]\n",
        4,
        "the URL's user goes in its place",
    ),
}
"""What one setting takes back from another, or what is not on this machine."""

REFUSED: Mapping[str, Case] = {**BY_FORM, **BY_CASE, **BETWEEN_SETTINGS}

ACCEPTED: Mapping[str, str] = {
    "nothing": "",
    "a short operation": limits(operation_timeout_ms=10),
    "short documents": limits(document_bytes_max=100, document_tokens_max=100),
    "a subgraph that may connect slowly": (
        "limits: {fetch_connect_timeout_ms: 40000}\nsubgraphs: {a: {timeout_ms: 50000}}\n"
    ),
    "the defaults, written out": (
        "introspection: false\nexplorer: false\nexplorer_title: Trifolio router\n"
        "cors: {origins: [], credentials: false, expose_headers: [x-request-id], max_age_s: 7200}\n"
    ),
    "no header at all": "headers: {forward: []}\nsubgraphs: {a: {forward_headers: []}}\n",
    "headers in any case": "headers: {forward: [Authorization, X-B3-TraceId, cookie, x_y]}\n",
    "every page": "cors: {origins: ['*'], allow_headers: ['*', authorization], expose_headers: ['*']}\n",
    "origins of all kinds": (
        "cors:\n  max_age_s: 0\n  origins:\n  - http://localhost:3000\n  - https://a.example:8443\n"
        "  - http://127.0.0.1:8080\n"
        "  - 'http://[::1]:3000'\n  - https://xn--bcher-kva.example\n  - capacitor://localhost\n"
        "  - chrome-extension://abcdef\n"
    ),
    "labels": "override: {labels: {new-checkout: true, a.b/c:d: false}, sticky_header: X-User}\n",
    "the environment's values": (
        "trusted_proxies: ${PROXIES:-1}\nintrospection: ${OPEN:-false}\nlimits: {body_bytes_max: '${BYTES:-5}'}\n"
        "cors: {origins: ['${ORIGIN:-https://a.example}']}\nsubgraphs: {a: {url: '${HOST:-http://a}/graphql'}}\n"
    ),
    "a long age": "cors: {origins: ['*'], max_age_s: 86400}\n",
    "null for nothing": "subgraphs: {a: {url: null, timeout_ms: ~}}\n",
}
"""What is not to be refused."""
