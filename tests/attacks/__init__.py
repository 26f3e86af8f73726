"""Everything that an attacker may send, and a subgraph in the wrong hands may answer, kept for good.

`hostile_documents`, `hostile_requests` and `hostile_answers` make it, each thing from a seed; the tests judge what
becomes of it by counting, and `python -m tests.attacks` measures a router on a socket.
"""
