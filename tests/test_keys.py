"""Certificates and keys: what another library of TLS makes of them."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hgobench.cli import app as command
from hgobench.errors import InputError

pytest.importorskip("cryptography", reason="needs hgobench[flower]")

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from hgobench.flower.keys import make


def handshake(keys: Path, authority: Path, name: str) -> str:
    """Return why a client does not trust the server of some keys; empty: it does."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(keys / "server.pem", keys / "server.key")
    client = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()

    def answer() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as end:
                end.recv(1)
        except OSError:
            there.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name):
            return ""
    except ssl.SSLCertVerificationError as error:
        return str(error.verify_message)
    finally:
        here.close()
        thread.join()


def test_a_client_trusts_the_server_by_its_names_alone(tmp_path: Path) -> None:
    make(tmp_path / "a", 0, ["localhost", "127.0.0.1", "server.example.org"])
    make(tmp_path / "b", 0, ["localhost"])
    for name in ("localhost", "127.0.0.1", "server.example.org"):
        assert handshake(tmp_path / "a", tmp_path / "a", name) == ""
    assert "mismatch" in handshake(tmp_path / "a", tmp_path / "a", "other.example.org")
    assert handshake(tmp_path / "a", tmp_path / "b", "localhost") != ""
    assert handshake(tmp_path / "b", tmp_path / "a", "localhost") != ""


def test_nodes_have_keys_that_are_theirs_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    done = CliRunner().invoke(command, ["keys", str(folder), "--nodes", "3"])
    assert done.exit_code == 0, done.output
    assert done.output.count("flwr supernode register") == 3
    seen = set()
    for i in range(3):
        private = load_ssh_private_key((folder / f"node-{i}").read_bytes(), None)
        public = load_ssh_public_key((folder / f"node-{i}.pub").read_bytes())
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert private.curve.name == "secp384r1"
        assert private.public_key() == public
        seen.add((folder / f"node-{i}.pub").read_bytes())
    assert len(seen) == 3
    for name in ("ca.key", "server.key", "node-0", "node-1", "node-2"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    before = (folder / "ca.key").read_bytes()
    with pytest.raises(InputError, match=r"keys: has ca\.pem, .* already; expected another folder"):
        make(folder, 1, ["localhost"])
    assert (folder / "ca.key").read_bytes() == before


@pytest.mark.parametrize(
    ("nodes", "hosts", "problem"),
    [
        (0, [], "host: none; expected the server's name or address"),
        (0, [""], "host: ''; expected a name or an address"),
        (0, ["a b"], "host: 'a b'; expected a name or an address, without scheme, port or spaces"),
        (0, ["https://a.example"], "without scheme, port or spaces"),
        (0, ["a.example:8000"], "without scheme, port or spaces"),
        (0, ["bücher.example"], "host: 'bücher.example'; expected a name or an address, in ASCII"),
        (-1, ["localhost"], "nodes: -1"),
    ],
)
def test_what_can_t_be_made_is_refused(
    tmp_path: Path, nodes: int, hosts: list[str], problem: str
) -> None:
    with pytest.raises((InputError, ValueError), match=problem):
        make(tmp_path / "keys", nodes, hosts)
    assert not (tmp_path / "keys").exists()
