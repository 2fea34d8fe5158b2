"""TLS contexts: one per set of certificate files, made again when a file changes."""

# The stubs of aiobotocore and aiohttp don't have the private hooks that this module is about.
# mypy: disable-error-code="attr-defined, has-type, misc, no-any-return, override, union-attr"
# pyright: basic, reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
# ruff: noqa: ANN401

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from botocore.httpsession import create_urllib3_context, get_cert_path

from aiocredentials._loops import loading
from aiocredentials.errors import TransportError

_MOST_CONTEXTS = 16


_Files = tuple[str | None, str | None, str | None]


_Stamps = tuple[object, ...]


# The newest context of each set of files, with what told the files from their predecessors.
_contexts: dict[_Files, tuple[_Stamps, ssl.SSLContext]] = {}


def _files(verify: Any, certificate: str | None, key: str | None) -> _Files:
    return (get_cert_path(verify) if verify else None, certificate, key)


def _kept(files: _Files) -> ssl.SSLContext | None:
    kept = _contexts.get(files)
    return kept[1] if kept is not None and kept[0] == _stamps(files) else None


def _stamps(files: _Files) -> _Stamps:
    return tuple(path and _stamp(path) for path in files)


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_ino, status.st_mtime_ns


async def ssl_context(verify: Any, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Return the context for a CA bundle and a client certificate: made once, and again when a file has changed."""
    files = _files(verify, certificate, key)
    try:
        kept = _kept(files)
        return await asyncio.to_thread(_build_context, files) if kept is None else kept
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(filter(None, files))
        why = f"the CA bundle or client certificate ({named}) can't be loaded: {error.strerror}"
    raise TransportError(why=why)


def prepare_context(verify: Any, certificate: str | None, key: str | None) -> None:
    """Make the context in this thread, so that the first request doesn't wait for it."""
    _build_context(_files(verify, certificate, key))


def _build_context(files: _Files) -> ssl.SSLContext:
    bundle, certificate, key = files
    with loading:
        if (kept := _kept(files)) is not None:
            return kept
        # Read before the files: a change while they are read makes the next client read them again.
        stamps = _stamps(files)
        context = create_urllib3_context()
        # urllib3 checks the host name by itself, so botocore's context doesn't; aiohttp leaves it
        # to the context.
        context.check_hostname = bundle is not None
        context.verify_mode = ssl.CERT_REQUIRED if bundle else ssl.CERT_NONE
        if bundle:
            context.load_verify_locations(bundle)
        if certificate:
            context.load_cert_chain(certificate, key)
        _contexts.pop(files, None)
        _contexts[files] = stamps, context
        while len(_contexts) > _MOST_CONTEXTS:
            # Certificates that are renewed under new names; a client that has one keeps it.
            del _contexts[next(iter(_contexts))]
        return context
