"""Links of a stated bandwidth between processes of this machine, by the kernel (Linux).

The server and every node have a network namespace of their own; a bridge in the server's connects
them, and a token bucket filter (tbf) at both ends of each link bounds what goes through. Namespaces
have no names: each lasts as long as a process in it, and a link as long as its namespace, so that
nothing of them is left, however their processes end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hgobench.errors import InputError

NETWORK = "10.71.0"  # in the namespaces alone: the server is .1, node i is .(2 + i)
BURST = 1_600  # bytes that pass at once, at least: a packet
QUEUE = 16_384  # bytes that wait, at least; else those of a second
PATIENCE = 30.0  # seconds that a single step may take
TOOLS = ("unshare", "nsenter", "ip", "tc")
LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp

# Receives until the end, and says at how many bytes per second, without the first piece, which a
# token bucket lets pass at once.
RECEIVE = """
import time
first, began, got = 0, 0.0, 0
while piece := link.recv(65536):
    now = time.monotonic()
    first, began = (first or len(piece)), (began or now)
    got += len(piece)
print((got - first) / max(now - began, 1e-9))
"""
SEND = "link.sendall(bytes({size})); link.shutdown(1); link.recv(1)"
SERVE = """
import socket
at = socket.create_server(("{host}", 0))
print(at.getsockname()[1], flush=True)
at.settimeout(20)
link, _ = at.accept()
"""
CALL = 'import socket; link = socket.create_connection(("{host}", {port}), 20)'


class Link(NamedTuple):
    """A node's link, in bytes per second; inf: it is not bounded.

    Attributes:
        up: from the node to the server.
        down: from the server to the node.
    """

    up: float
    down: float


class Links:
    """A server and nodes that reach each other over links of their own.

    Args:
        links: by node.
        start: starts a command under a name, and returns its process; whoever gives it ends them.

    Attributes:
        host: the server's address, as nodes reach it.

    Raises:
        InputError: the system has no such namespaces or filters, or does not let us make them.
    """

    host = f"{NETWORK}.1"

    def __init__(
        self,
        links: Sequence[Link],
        start: Callable[[str, Sequence[str]], subprocess.Popen[bytes]],
    ) -> None:
        if sys.platform != "linux" or (lacks := [one for one in TOOLS if not shutil.which(one)]):
            what = "Linux" if sys.platform != "linux" else ", ".join(lacks)
            raise _refused(f"needs {what} (packages util-linux and iproute2)")
        self._user: list[str] = []
        root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self._server = self._space("links", ["unshare", *root, "--net"], start)
        if root:
            self._user = [f"--user=/proc/{self._server.pid}/ns/user", "--preserve-credentials"]
        self._nodes = []
        inside = self.server
        self._do(inside, "ip", "link", "set", "lo", "up")
        self._do(inside, "ip", "link", "add", "hub", "type", "bridge")
        self._do(inside, "ip", "addr", "add", f"{self.host}/24", "dev", "hub")
        self._do(inside, "ip", "link", "set", "hub", "up")
        for node, link in enumerate(links):
            # A namespace of the same user's, else the server's could not reach into it.
            words = [*(["nsenter", *self._user] if root else []), "unshare", "--net"]
            space = self._space(f"link-{node}", words, start)
            self._nodes.append(space)
            there, end = self.node(node), f"node{node}"
            self._do(
                inside, "ip", "link", "add", end, "type", "veth",
                "peer", "name", "eth0", "netns", str(space.pid),
            )  # fmt: skip
            self._do(inside, "ip", "link", "set", end, "master", "hub")
            self._do(inside, "ip", "link", "set", end, "up")
            self._do(there, "ip", "link", "set", "lo", "up")
            self._do(there, "ip", "addr", "add", f"{NETWORK}.{node + 2}/24", "dev", "eth0")
            self._do(there, "ip", "link", "set", "eth0", "up")
            for words, device, rate in ((there, "eth0", link.up), (inside, end, link.down)):
                if rate < float("inf"):
                    self._do(
                        words, "tc", "qdisc", "add", "dev", device, "root", "tbf",
                        "rate", f"{round(rate * 8)}bit", "burst", str(max(BURST, int(rate / 100))),
                        "limit", str(max(QUEUE, int(rate))),
                    )  # fmt: skip

    @property
    def server(self) -> list[str]:
        """The words before a command that is to run where the server is."""
        return ["nsenter", *self._user, f"--net=/proc/{self._server.pid}/ns/net"]

    def node(self, node: int) -> list[str]:
        """Return the words before a command that is to run where a node is."""
        return ["nsenter", *self._user, f"--net=/proc/{self._nodes[node].pid}/ns/net"]

    def listens(self, port: int) -> bool:
        """Return whether somebody listens on a port where the server is."""
        for name in ("tcp", "tcp6"):
            for line in _lines(self._server.pid, name):
                words = line.split()
                if words[3] == LISTENS and words[1].endswith(f":{port:04X}"):
                    return True
        return False

    def passed(self) -> list[tuple[int, int]]:
        """Return the bytes that each node has sent and received so far, headers included."""
        found = []
        for space in self._nodes:
            counts = [0] * 16
            for line in _lines(space.pid, "dev"):
                if line.strip().startswith("eth0:"):
                    counts = [int(word) for word in line.split(":")[1].split()]
            found.append((counts[8], counts[0]))
        return found

    def measured(self, seconds: float = 2.0, most: int = 2_000_000) -> list[Link]:
        """Return how fast each link is, one after the other.

        Args:
            seconds: that a direction takes, about, by its stated bandwidth.
            most: bytes that are sent, at most, and where it is not bounded.
        """
        return [
            Link(*(self._rate(node, up, seconds, most) for up in (True, False)))
            for node in range(len(self._nodes))
        ]

    def _rate(self, node: int, up: bool, seconds: float, most: int) -> float:
        end = "eth0" if up else f"node{node}"
        told = self._do(self.node(node) if up else self.server, "tc", "qdisc", "show", "dev", end)
        size = most
        if "tbf" in told:
            size = min(int(_bits(told.split("rate")[1].split()[0]) / 8 * seconds) + BURST, most)
        send, serve = SEND.format(size=size), SERVE.format(host=self.host)
        listening = subprocess.Popen(
            [*self.server, sys.executable, "-I", "-c", serve + (RECEIVE if up else send)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        with listening:
            try:
                assert listening.stdout is not None
                port = int(listening.stdout.readline())
                call = CALL.format(host=self.host, port=port)
                sent = self._do(
                    self.node(node), sys.executable, "-I", "-c",
                    f"{call}\n{send if up else RECEIVE}", seconds=PATIENCE + 4 * seconds,
                )  # fmt: skip
                return float(listening.stdout.readline() if up else sent)
            except ValueError:
                raise _refused(f"no bytes came over the link of node {node}") from None
            finally:
                listening.kill()

    def _space(
        self, name: str, words: list[str],
        start: Callable[[str, Sequence[str]], subprocess.Popen[bytes]],
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Make a namespace, and return the process that holds it."""
        process = start(name, [*words, "sleep", "infinity"])
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError):
                if Path(f"/proc/{process.pid}/comm").read_text().strip() == "sleep":
                    return process
            time.sleep(0.01)
        raise _refused("the system lets us make no network namespace (unshare --net)")

    def _do(self, where: Sequence[str], *words: str, seconds: float = PATIENCE) -> str:
        try:
            done = subprocess.run(
                [*where, *words], capture_output=True, text=True, timeout=seconds, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise _refused(f"{words[0]}: not within {seconds:g} seconds") from None
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise _refused(f"{' '.join(words[:3])}: {said[-1]}")
        return done.stdout


def _lines(pid: int, table: str) -> list[str]:
    """Return a table of the network that a process is in, without the header."""
    return Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]


def _bits(text: str) -> float:
    """Return bits per second as tc writes them.

    >>> _bits("16Kbit"), _bits("800bit"), _bits("1500Kbit")
    (16000.0, 800.0, 1500000.0)
    """
    number = text.rstrip("KMGbit")
    return float(number) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[text[len(number) : -3]]


def _refused(why: str) -> InputError:
    return InputError(f"links: {why}; without network[..] in the hardware none are needed")
