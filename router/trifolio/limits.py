"""Every limit of the router, with its unit in its name, its default and its reason.

`Limits` is plain values; `router.yaml` overrides them under `limits:` by the same names.
"""

from dataclasses import dataclass, fields
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one document and one fetch may cost. All counts are inclusive: the limit itself is allowed."""

    MINIMUM: ClassVar[int] = 1
    """The smallest value that a limit can have."""

    # ---- the HTTP request ----

    body_bytes_max: int = 2_000_000
    """2 MB: a large operation with generous variables is under 100 kB; memory per connection stays bounded."""
    body_timeout_ms: int = 10_000
    """10 s from the headers to the body's last byte: slower is an attack that holds a connection, not a network."""
    header_bytes_max: int = 32_768
    """32 KiB for all headers together: tokens with many claims fit; proxies in front allow 8 to 32 KiB."""
    header_timeout_ms: int = 10_000
    """10 s from the first byte to the end of the headers, and from connecting to the first byte."""
    header_count_max: int = 100
    """100 header fields: browsers send about 20, proxies add a handful."""
    url_bytes_max: int = 16_384
    """16 KiB of path and query: the longest that a GET query may be; proxies in front allow 8 to 16 KiB."""
    keep_alive_timeout_ms: int = 75_000
    """75 s without a request, and a connection is closed: load balancers close theirs after 60 s, before we do."""
    request_timeout_ms: int = 300_000
    """5 min from a request's last byte to its answer's, read by the client: longer than any operation may take; an
    answer that is streamed has no such end."""
    send_timeout_ms: int = 30_000
    """30 s for a client to read 64 KiB of its answer, or what is left of it: slower is an attack that holds memory."""
    pipelined_requests_max: int = 16
    """16 requests of one connection wait for the answer to an earlier one: clients that do this at all send a few."""
    held_bytes_max: int = 64_000_000
    """64 MB of bodies that have not arrived whole, all clients together: honest ones are a few kilobytes, and whole."""
    connections_max: int = 15_000
    """15,000 connections per process, some 150 MB: beyond, who has waited longest makes room for who comes."""
    connections_per_address_max: int = 1_000
    """1,000 connections of one address: an office behind one has hundreds. Not counted where `trusted_proxies` is set,
    as there all clients come through the same few."""
    requests_in_flight_max: int = 10_000
    """10,000 requests at once per process: beyond, a 503 at once is better than a time-out for everyone."""
    lame_duck_ms: int = 5_000
    """5 s from SIGTERM to the end of listening, in which `/ready` is a 503: load balancers look every few seconds."""
    shutdown_timeout_ms: int = 10_000
    """10 s for requests in flight to end on SIGTERM; orchestrators kill after 30 s."""

    # ---- the document ----

    document_bytes_max: int = 200_000
    """200 kB: the largest operations of generated clients are about 50 kB."""
    document_tokens_max: int = 15_000
    """15,000 tokens: parsing them takes about 50 ms, which one request may cost."""
    document_depth_max: int = 200
    """200 nested brackets of any kind: parser and validator recurse per level and must stay far from Python's limit."""
    operation_aliases_max: int = 1_000
    """1,000 aliases in the document: a client that batches by aliases has tens, an attack thousands."""
    operation_root_fields_max: int = 200
    """200 root fields: each can be a request to a subgraph."""
    variables_depth_max: int = 64
    """64 levels in a variable's value: encoders and the coercion of inputs recurse per level."""
    variables_values_max: int = 20_000
    """20,000 values in all variables, lists and objects counted: checking them takes about 100 ms."""
    operation_selections_max: int = 20_000
    """20,000 selected fields after every fragment is spread: fragments that spread fragments grow exponentially. No
    plan has an answer with more, whoever asks for it."""
    validation_errors_max: int = 50
    """50 validation errors are reported: enough to mend a document, cheap to collect."""

    # ---- work ----

    request_work_max: int = 250_000
    """250,000 units of work, some 250 ms of computing: the largest honest operations take a third of it, once."""
    computations_max: int = 1_000
    """1,000 operations wait to be planned: beyond, a 503 at once is better than a time-out for all."""
    long_computations_max: int = 4
    """4 operations that take longer than 10 ms are being planned at a time: each holds some ten megabytes meanwhile."""

    # ---- planning ----

    plan_cache_entries_max: int = 1_000
    """1,000 operations: an application has tens to hundreds."""
    plan_cache_bytes_max: int = 100_000_000
    """100 MB of plans by estimate: 20 kB each are usual, and a short document can have one of 2 MB."""
    struct_fields_max: int = 10_000
    """10,000 fields, some 40 MB: the answers of the hundreds of operations that are asked most are made of structs."""
    refusal_cache_bytes_max: int = 2_000_000
    """2 MB of refused operations, some 2,000: repeating one then costs a look-up."""

    operation_timeout_ms: int = 60_000
    """60 s for all fetches of an operation together: longer than one fetch may take, shorter than proxies wait."""

    # ---- the fetches ----

    fetch_timeout_ms: int = 30_000
    """30 s per fetch, overridden per subgraph: the longest that a client is likely to wait at all."""
    fetch_connect_timeout_ms: int = 5_000
    """5 s to connect: a subgraph in the same network connects in milliseconds."""
    fetch_idle_timeout_ms: int = 4_000
    """4 s unused, and a connection is not used again: uvicorn and Node close theirs after 5 s, at any bad moment."""
    fetch_header_bytes_max: int = 65_536
    """64 KiB for all headers of a subgraph's response: servers send one or two, with cookies a few more."""
    fetch_response_bytes_max: int = 8_000_000
    """8 MB per subgraph response: decoding them takes 70 ms in one go, 200 ms at worst, and some 100 MB of memory."""
    fetch_connections_max: int = 100
    """100 connections to each subgraph: as many as a small service can work on at once."""
    representations_max: int = 10_000
    """10,000 representations in one fetch: subgraphs have limits of their own, and lists this long want paging."""

    # ---- subscriptions ----

    subscriptions_max: int = 10_000
    """10,000 open subscriptions per process, at 25 kB each: beyond, a refusal at once leaves memory for those."""
    subscriptions_per_client_max: int = 1_000
    """1,000 of one client, known by the verified token's `sub`, else by its address: an office behind one has
    hundreds."""
    subscription_lifetime_ms: int = 86_400_000
    """24 h, and a stream ends, if its token has not ended it before: clients come back to where there is room."""
    subscription_heartbeat_ms: int = 10_000
    """10 s without an event, and something is sent that is none: proxies close what is silent for 30 s or more."""
    subscription_events_waiting_max: int = 100
    """100 events of one subscription wait for its client: a burst; who is slower for good is told."""
    subscription_bytes_waiting_max: int = 1_000_000
    """1 MB of them, as a subgraph elsewhere sent them; one larger event may wait alone."""
    subscription_patience_ms: int = 500
    """500 ms, in all, that a subgraph's next event waits for a client whose events wait, until it has read them all."""

    subscription_event_bytes_max: int = 1_000_000
    """1 MB per event of a subgraph elsewhere: an event tells what has changed, to everybody who listens."""
    subscription_silence_ms: int = 300_000
    """5 min without a byte of a subgraph's events over HTTP, and its connection counts as broken: most say something
    every few seconds. A WebSocket is asked by pings."""
    subscription_reconnect_ms: int = 30_000
    """30 s in which a subgraph's connection that broke is made again; a subgraph that is replaced is back by then."""

    # ---- WebSockets ----

    websockets_max: int = 10_000
    """10,000 WebSockets per process: as many as there may be subscriptions, as many clients have one on each."""
    websocket_operations_max: int = 100
    """100 operations of one WebSocket at a time: a page has some tens."""
    websocket_message_bytes_max: int = 1_000_000
    """1 MB per message: the largest document, and four times as much for variables."""
    websocket_init_timeout_ms: int = 3_000
    """3 s from the handshake to `connection_init`, which clients send at once."""
    websocket_ping_ms: int = 15_000
    """15 s, and who has not been heard is asked; who is not heard for as long again is gone. Proxies close what is
    silent for 30 s or more."""

    # ---- traces ----

    trace_variables_bytes_max: int = 20_000
    """20 kB of a fetch's variables in a trace: some hundred representations, as many as anybody reads."""

    # ---- plug-ins ----

    plugin_start_timeout_ms: int = 30_000
    """30 s for a plug-in to open what it needs: orchestrators give up on a process that is not ready for a minute."""
    plugin_response_timeout_ms: int = 1_000
    """1 s for `on_response` when the operation's time is over, and for each later part: its headers are wanted all the
    same, and it has nothing to wait for."""

    # ---- the answer ----

    answer_errors_max: int = 100
    """100 errors in one answer: a broken subgraph under a long list would repeat itself thousands of times."""

    answer_values_max: int = 500_000
    """500,000 values in one answer, and one more for every 32 characters of a long text: some 30 MB at most."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < self.MINIMUM:
                raise ValueError(f"{each.name} has to be at least {self.MINIMUM}")


@dataclass(frozen=True, slots=True)
class JwtLimits:
    """What tokens and the keys that verify them may cost: `limits` of the plug-in `trifolio.plugins.jwt:Jwt`."""

    MINIMUM: ClassVar[int] = 1
    """The smallest value that a limit can have."""

    token_bytes_max: int = 8_192
    """8 KiB: a token with many claims has two; a longer one is not decoded."""
    remembered_tokens_max: int = 10_000
    """10,000 verified tokens are remembered until they expire: as many callers as one process serves in an hour."""
    remembered_bytes_max: int = 20_000_000
    """20 MB of claims: the number alone would let the largest tokens take four times as much."""
    jwks_bytes_max: int = 500_000
    """500 kB of keys: an issuer has two or three, of 500 bytes each; with certificates, some kilobytes."""
    jwks_keys_max: int = 100
    """100 keys of one issuer: more are no rotation."""
    jwks_timeout_ms: int = 5_000
    """5 s to fetch an issuer's keys: requests with a new key wait for it."""
    jwks_refresh_ms: int = 600_000
    """10 min, and keys are fetched again while the old ones are used: so long a withdrawn key is still good."""
    jwks_retry_ms: int = 30_000
    """30 s between two fetches, whatever asks for one: unknown keys in tokens, which anybody invents, or a failure."""
    jwks_stale_ms: int = 3_600_000
    """1 h without a fetch that succeeds, and keys are not used any more: an issuer's outage is shorter, an attack that
    keeps the router from seeing a withdrawal is not to last longer."""
