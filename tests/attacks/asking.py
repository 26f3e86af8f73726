"""A client that only wants its answer: python -m tests.attacks.asking PORT SECONDS prints how long that took it.

It comes from an address of its own, with a new connection for every request.
"""

import json
import socket
import sys
import time

BODY = b'{"query": "{ __typename }"}'
HEAD = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
REQUEST = HEAD + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)


def ask(port: int) -> bool:
    """Whether there was an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.2.1", 0)) as connection:
        connection.sendall(REQUEST)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    return received.startswith(b"HTTP/1.1 200 ")


def main() -> int:
    """Ask for so long, some fifty times a second."""
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    taken: list[float] = []
    failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        try:
            failed += not ask(port)
        except OSError:
            failed += 1
        taken.append(1_000 * (time.perf_counter() - started))
        time.sleep(0.02)
    taken.sort()
    half, most = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    sys.stdout.write(json.dumps({"number": len(taken), "failed": failed, "p50_ms": half, "p99_ms": most}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
