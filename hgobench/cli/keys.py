"""``hgobench keys``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keys(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made if it does not exist.")],
    nodes: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many pairs of keys to make.")
    ] = 0,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or address of the server; repeatable [default: localhost, 127.0.0.1]."
        ),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="For how many days certificates are valid.")
    ] = 365,
) -> None:
    """Make certificates and keys for devices on a network.

    Writes a certificate authority of your own (ca.pem, ca.key), a certificate that it signs and a
    key for the server (server.pem, server.key), and a pair of keys for each node (node-0,
    node-0.pub). Prints the commands that use them. Files that exist are never overwritten.
    """
    from hgobench.flower.keys import commands, make

    hosts = list(host or ("localhost", "127.0.0.1"))
    make(folder, nodes, hosts, days)
    for line in commands(folder, nodes, hosts[0]):
        typer.echo(line)
