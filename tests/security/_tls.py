"""Certificates made by the test, and TLS in front of servers that have none: what a proxy in another container does."""

import asyncio
import datetime as dt
import ipaddress
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""With these bytes a PostgreSQL client asks for TLS; the server answers S."""


class Authority:
    """A certificate authority of this test's own. `issue` writes NAME.crt and NAME.key below *folder*."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, is_authority=True)
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *addresses: str, days: int = 1) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, addresses, days=days)
        crt, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        private.chmod(0o600)
        return crt, private

    def _sign(self, subject, key, addresses=(), *, is_authority=False, days=1):
        now = dt.datetime.now(dt.UTC)
        names = [
            x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() else x509.DNSName(one)
            for one in addresses
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class _Proxy:
    """Ends TLS and hands the bytes on; for PostgreSQL after its own little greeting."""

    def __init__(self, context: ssl.SSLContext, target, *, speaks_postgres: bool) -> None:
        self._context, self._target, self._is_postgres = context, target, speaks_postgres
        self.port, self._ready = 0, threading.Event()
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        context = None if self._is_postgres else self._context
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._is_postgres:
                if await reader.readexactly(8) != SSL_REQUEST:
                    return  # no TLS, no service
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._context)
            back, out = await self._target()
            copies = [asyncio.create_task(_copy(reader, out)), asyncio.create_task(_copy(back, writer))]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                out.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return


@contextmanager
def tls_in_front(
    target, crt: Path, key: Path, client_ca: Path | None = None, *, speaks_postgres: bool = False
) -> Iterator[int]:
    """A port on which *target* (opens a connection) is reached by TLS; with *client_ca* only by clients that have a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    proxy = _Proxy(context, target, speaks_postgres=speaks_postgres)
    proxy.start()
    try:
        yield proxy.port
    finally:
        proxy.stop()
