"""Runs a module as `python -m` does, in a process that ends when the supervisor does, however that comes about.

    python -m brokerage.tether MODULE ARGUMENT...

The process's standard input is a pipe that the supervisor alone holds open and never writes to. A supervisor that is
killed cannot say so, but the system closes its pipe: then the process is told to stop, as the supervisor would have.
"""

import os
import runpy
import signal
import sys
import threading
import time

STDIN = 0
STOP_TIMEOUT_S = 10.0
"""From the request to stop until the process is killed: as long as the supervisor waits."""
READ_BYTES = 1024


def main() -> None:
    """Runs the module that the command line names, with the rest of the command line."""
    threading.Thread(target=_end_with_supervisor, name="tether", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_supervisor() -> None:
    while os.read(STDIN, READ_BYTES):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
