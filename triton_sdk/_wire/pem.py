"""The files of TLS: read, and tried at once, for of a bad one gRPC says nothing but that it cannot connect."""

import os
import ssl

from triton_sdk._files import opened
from triton_sdk.config import Tls
from triton_sdk.errors import ConfigurationError


def read(path: str | os.PathLike[str] | None) -> bytes | None:
    """Return what the file holds; None where there is none.

    Raises:
        ConfigurationError: If it cannot be read.
    """
    if path is None:
        return None
    try:
        with opened(path) as file:
            return file.readall()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(f"Cannot read the TLS file {os.fspath(path)!r}: {reason}.") from error


def check_files(tls: Tls) -> None:
    """Check that the files of *tls* hold what they should, and that the key is the certificate's.

    Raises:
        ConfigurationError: If one cannot be read, is no PEM file of its kind, or the key is not the certificate's.
    """
    for path in (tls.ca, tls.certificate, tls.key):
        read(path)
    if tls.ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=tls.ca)
        except (ssl.SSLError, ValueError) as error:
            raise _unfit(
                "CA file", tls.ca, "certificates of authorities in PEM (-----BEGIN CERTIFICATE-----)"
            ) from error
    if tls.certificate is None or tls.key is None:
        return
    key = read(tls.key) or b""
    if b"ENCRYPTED" in key:
        raise ConfigurationError(
            f"The TLS key {os.fspath(tls.key)!r} is encrypted, and gRPC asks for no passphrase. Decrypt it first: "
            "openssl pkey -in KEY -out PLAIN."
        )
    if b"PRIVATE KEY-----" not in key:
        raise _unfit("key", tls.key, "a private key in PEM (-----BEGIN PRIVATE KEY-----)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Whether a key is long enough is the server's to say.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(tls.certificate, tls.key, password=str)
    except (ssl.SSLError, ValueError) as error:
        if "MISMATCH" in str(error):
            raise ConfigurationError(
                f"The TLS key {os.fspath(tls.key)!r} does not match the certificate {os.fspath(tls.certificate)!r}; "
                "the private key that the certificate was made for was expected."
            ) from error
        expected = f"the client's certificate in PEM, to which {os.fspath(tls.key)!r} is the private key"
        raise _unfit("certificate", tls.certificate, expected) from error


def _unfit(kind: str, path: str | os.PathLike[str], expected: str) -> ConfigurationError:
    return ConfigurationError(f"The TLS {kind} {os.fspath(path)!r} cannot be used; {expected} was expected.")
