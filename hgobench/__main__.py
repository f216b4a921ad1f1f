"""``python -m hgobench``."""

from hgobench.cli import main

main()
