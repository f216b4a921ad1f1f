"""``hgobench keys``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keys(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they go.")],
    nodes: Annotated[int, typer.Option(min=0, max=10_000, help="How many nodes get a key.")] = 0,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Names or addresses of the server [default: localhost, 127.0.0.1]."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long certificates hold.")] = 365,
) -> None:
    """Make certificates and keys for devices on a network.

    A certificate authority of your own (ca.pem, ca.key), the server's certificate and key that it
    signs (server.pem, server.key), and a pair of keys for each node (node-0, node-0.pub). Prints
    the commands that use them. Nothing is replaced.
    """
    from hgobench.flower.keys import commands, make

    hosts = list(host or ("localhost", "127.0.0.1"))
    make(folder, nodes, hosts, days)
    for line in commands(folder, nodes, hosts[0]):
        typer.echo(line)
