"""TLS contexts: one per set of certificate files, made again when a file changes."""

# ruff: noqa: ANN401 (`verify` is botocore's: a bool or the path of a CA bundle)

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from botocore.httpsession import create_urllib3_context, get_cert_path

from aiocredentials._loops import loading
from aiocredentials.errors import TransportError

_MOST_CONTEXTS = 16


class CertificateFiles(NamedTuple):
    """The paths that a TLS context is made from. Without a bundle nothing is verified."""

    bundle: str | None
    certificate: str | None
    key: str | None

    def stamps(self) -> list[object]:
        """Return the facts that distinguish these files from earlier ones. Raises `OSError`."""
        return [path and _stamp(path) for path in self]


class _KeptContext(NamedTuple):
    stamps: list[object]
    context: ssl.SSLContext


# The newest context of each set of files.
_contexts: dict[CertificateFiles, _KeptContext] = {}


async def ssl_context(
    verify: Any,
    certificate: str | None,
    key: str | None,
) -> ssl.SSLContext:
    """Return the context for a CA bundle and a client certificate.

    It is made once, in a thread, and again when a file has changed.

    Args:
        verify: The path of a CA bundle, True for the default one, or False to verify nothing.
        certificate: The path of a client certificate.
        key: The path of its key, if that is in a separate file.

    Raises:
        TransportError: A file can't be loaded.
    """
    files = _files(verify, certificate, key)
    try:
        context = _kept_context(files)
        if context is None:
            context = await asyncio.to_thread(_build_context, files)
    # ssl.SSLError is an OSError, too.
    except OSError as error:
        paths = ", ".join(filter(None, files))
        why = f"the CA bundle or client certificate ({paths}) can't be loaded: {error.strerror}"
    else:
        return context
    raise TransportError(why=why)


def forget_private_keys() -> None:
    """Forget the contexts that were made with a client certificate, because they hold its key."""
    with loading:
        with_key = [files for files in _contexts if files.certificate]
        for files in with_key:
            del _contexts[files]


def _files(
    verify: Any,
    certificate: str | None,
    key: str | None,
) -> CertificateFiles:
    bundle = get_cert_path(verify) if verify else None
    return CertificateFiles(bundle, certificate, key)


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_ino, status.st_mtime_ns


def _kept_context(files: CertificateFiles) -> ssl.SSLContext | None:
    """Return the context that was made from these files, unless one has changed."""
    kept = _contexts.get(files)
    if kept is None:
        return None
    if kept.stamps != files.stamps():
        return None
    return kept.context


def _build_context(files: CertificateFiles) -> ssl.SSLContext:
    with loading:
        kept = _kept_context(files)
        if kept is not None:
            return kept

        # Before the files are read: if one changes meanwhile, the next client reads them again.
        stamps = files.stamps()
        context = _new_context(files)

        _contexts.pop(files, None)
        _contexts[files] = _KeptContext(stamps, context)
        while len(_contexts) > _MOST_CONTEXTS:
            # Certificates may be renewed under new names. A client that uses a context keeps it.
            oldest = next(iter(_contexts))
            del _contexts[oldest]
        return context


def _new_context(files: CertificateFiles) -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    # urllib3 checks the host name by itself, so botocore's context doesn't; aiohttp leaves it to
    # the context.
    context.check_hostname = files.bundle is not None
    context.verify_mode = ssl.CERT_REQUIRED if files.bundle else ssl.CERT_NONE
    if files.bundle:
        context.load_verify_locations(files.bundle)
    if files.certificate:
        context.load_cert_chain(files.certificate, files.key)
    return context
