"""`make bench`: what a client of the brokerage waits for, and what the services spend on it.

Figures are of this machine at this moment: compare those of one run with one another, not with another day's.
"""

import asyncio

from bench.brokerage import measure

if __name__ == "__main__":
    print(asyncio.run(measure()))
