"""`python -m trifolio`."""

import sys

from trifolio.command import main

if __name__ == "__main__":
    sys.exit(main())
