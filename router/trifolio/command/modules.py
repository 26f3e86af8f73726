"""Where the modules are found that files of the user's name: beside the file, and where the command was called."""

import sys
from pathlib import Path


def find_modules_beside(folder: Path) -> None:
    """Let modules be imported from a folder and from the working directory; the folder's come first."""
    for place in (str(Path.cwd()), str(folder.resolve())):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)
