"""Connections that are held: python -m tests.attacks.holding PORT NUMBER SECONDS

A third of them send nothing, a third the head of a POST, a third a head and a byte now and then. Each comes from one of
254 addresses, and one that is closed comes again, as an attacker's would. At the end it prints how many were closed.
"""

import select
import socket
import sys
import time

HEAD = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"


def connect(port: int, number: int) -> socket.socket:
    """The connection of this number, with what it sends at once."""
    connection = socket.socket()
    connection.bind((f"127.0.1.{1 + number % 254}", 0))
    connection.settimeout(5)
    connection.connect(("127.0.0.1", port))
    if number % 3:
        connection.sendall(HEAD)
    if number % 3 == 2:
        connection.sendall(b"{")
    connection.setblocking(False)
    return connection


def main() -> int:
    """Hold them for so long."""
    port, number, seconds = map(int, sys.argv[1:])
    waiting = select.epoll()
    held: dict[int, tuple[int, socket.socket]] = {}
    again = list(range(number))
    closed = refused = 0
    end = None
    while end is None or time.monotonic() < end:
        for each in again[:200]:
            try:
                connection = connect(port, each)
            except OSError:
                refused += 1
                continue
            held[connection.fileno()] = each, connection
            waiting.register(connection, select.EPOLLIN | select.EPOLLRDHUP)
            again.remove(each)
        if end is None and not again:
            sys.stdout.write(f"{len(held)}\n")
            sys.stdout.flush()
            end = time.monotonic() + seconds
        for descriptor, _ in waiting.poll(0 if again else 0.2):
            each, connection = held.pop(descriptor)
            waiting.unregister(descriptor)
            connection.close()
            again.append(each)
            closed += 1
        if end is None and refused > number:
            return 1
    sys.stdout.write(f"{closed} {refused}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
