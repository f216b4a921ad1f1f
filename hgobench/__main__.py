"""``python -m hgobench``, and the command ``hgobench``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, which takes a second to import; Ctrl-C ends it from the first moment on."""
    try:
        from hgobench.cli import main as command

        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
