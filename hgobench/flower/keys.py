"""Certificates for a SuperLink and keys for its nodes, as Flower takes them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hgobench.errors import InputError
from hgobench.parameters import whole as integer
from hgobench.writing import whole

AUTHORITY, SERVER = "ca", "server"  # names of files
SECRET = 0o600


def make(folder: Path, nodes: int, hosts: Sequence[str], days: int = 365) -> None:
    """Make a certificate authority, the server's certificate, and a pair of keys for each node.

    Keys are ECDSA: on P-256 of certificates, on P-384 of nodes. Private ones are for their owner
    alone to read; ``ca.key`` signs further certificates, and belongs on neither server nor nodes.

    Args:
        folder: made if it does not exist; nothing in it is replaced.
        nodes: how many get a pair, ``node-0`` (private) and ``node-0.pub``.
        hosts: names and addresses of the server: a client that reaches it by another refuses it.
        days: how long certificates hold.

    Raises:
        InputError: the library is not installed, a host is no name, or a file exists already.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        raise InputError("keys: needs hgobench[flower]: pip install 'hgobench[flower]'") from None
    nodes, days = integer("nodes", nodes, least=0), integer("days", days, least=1)
    problems = [
        f"host: {host!r}; expected a name or an address, without scheme, port or spaces"
        for host in hosts
        if not _named(host)
    ]
    names: list[x509.GeneralName] = []
    for host in filter(_named, hosts):
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            try:
                names.append(x509.DNSName(host))
            except ValueError:
                problems.append(f"host: {host!r}; expected a name or an address, in ASCII")
    files = [f"{name}.{end}" for name in (AUTHORITY, SERVER) for end in ("pem", "key")]
    files += [name for i in range(nodes) for name in (f"node-{i}", f"node-{i}.pub")]
    there = [name for name in files if (folder / name).exists()]
    if there:
        problems.append(f"{folder}: has {', '.join(there)} already; expected another folder")
    if not hosts:
        problems.append("host: none; expected the server's name or address")
    if problems:
        raise InputError(problems)

    now = datetime.now(UTC)

    def certificate(subject: x509.Name, issuer: x509.Name, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))  # clocks differ
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = named("hgobench certificate authority")
    usage = {
        "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "encipher_only": False, "decipher_only": False,
    }  # fmt: skip
    own = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage)
    root = (
        certificate(issuer, issuer, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(own, critical=True)
        .sign(authority, hashes.SHA256())
    )
    server = ec.generate_private_key(ec.SECP256R1())
    signs = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage)
    signed = (
        certificate(named(hosts[0][:64]), issuer, server.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            critical=False,
        )
        .sign(authority, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()

    def private(key: ec.EllipticCurvePrivateKey, form: Any) -> bytes:
        data: bytes = key.private_bytes(pem, form, plain)
        return data

    with whole(folder) as unfinished:
        for name, one, key in ((AUTHORITY, root, authority), (SERVER, signed, server)):
            (unfinished / f"{name}.pem").write_bytes(one.public_bytes(pem))
            form = serialization.PrivateFormat.PKCS8
            _secret(unfinished / f"{name}.key", private(key, form))
        for i in range(nodes):
            key = ec.generate_private_key(ec.SECP384R1())
            form = serialization.PrivateFormat.OpenSSH
            _secret(unfinished / f"node-{i}", private(key, form))
            public = key.public_key().public_bytes(
                serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            )
            (unfinished / f"node-{i}.pub").write_bytes(public + b"\n")


def _named(host: str) -> bool:
    """Say whether this may be a host's name or address: no URL, no port."""
    try:
        ip_address(host)
    except ValueError:
        return re.fullmatch(r"[^\s:/]+", host) is not None
    return True


def _secret(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET), "wb") as file:
        file.write(data)


def commands(folder: Path, nodes: int, host: str) -> list[str]:
    """Return the commands that use the files, with comments that say where each is for.

    >>> print("\\n".join(commands(Path("keys"), 1, "10.0.0.1")[2:4]))
    # then, where flwr runs: admit the nodes
    flwr supernode register keys/node-0.pub here
    """
    at = {name: shlex.quote(str(folder / name)) for name in ("ca.pem", "server.pem", "server.key")}
    lines = [
        "# on the server, which needs ca.pem, server.pem and server.key",
        "flower-superlink --disable-runtime-dependency-installation --enable-supernode-auth "
        f"--ssl-ca-certfile {at['ca.pem']} --ssl-certfile {at['server.pem']} "
        f"--ssl-keyfile {at['server.key']}",
    ]
    lines += ["# then, where flwr runs: admit the nodes"] if nodes else []
    for i in range(nodes):
        public = shlex.quote(str(folder / f"node-{i}.pub"))
        lines += [f"flwr supernode register {public} here"]
    lines += ["# on each device, which needs ca.pem and its own node-i"] if nodes else []
    for i in range(nodes):
        private = shlex.quote(str(folder / f"node-{i}"))
        lines += [
            f"flower-supernode --root-certificates {at['ca.pem']} --auth-supernode-private-key "
            f"{private} --superlink {host}:8000 --port {9100 + i} --node-config ..."
        ]
    return lines
