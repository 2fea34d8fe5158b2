"""Signatures that keep what the calls of one client have in common: the day's key and the host.

botocore's own classes sign. Only steps that would lead to the same result again are left out, which
are two thirds of the work. Everything except an ordinary request of an ordinary client is left to
botocore: other kinds of signatures, presigned URLs, bodies that are streamed, a caller's own
signers.
"""

# The stubs of botocore and aiobotocore don't have the private hooks that this module uses.
# mypy: disable-error-code="attr-defined, misc, no-any-return, override"
# pyright: basic, reportAttributeAccessIssue=false
# ruff: noqa: ANN401, SLF001

from __future__ import annotations

import inspect
from hashlib import sha256
from typing import Any, NoReturn

from aiobotocore.signers import AioRequestSigner
from botocore import auth
from botocore.auth import SigV4Auth

_SIGNING_HOOKS = ("_host_from_url", "SIGNED_HEADERS_BLACKLIST")


def keep_signing_key(client: object) -> None:
    """Let a client keep its signing key, unless it signs in another way than usual."""
    signer: Any = getattr(client, "_request_signer", None)
    if type(signer) is AioRequestSigner and _has_hooks():
        # Its methods are registered as handlers of events, so it can't be replaced by another.
        signer._kept = _Kept()
        signer.__class__ = _KeepingSigner


def _has_hooks() -> bool:
    """Return whether botocore and aiobotocore sign in the way that this module knows."""
    make = getattr(AioRequestSigner, "get_auth_instance", None)
    is_known = all(hasattr(auth, name) for name in _SIGNING_HOOKS)
    return is_known and inspect.iscoroutinefunction(make)


class _Kept:
    """What the signatures of one client have in common.

    It has only slots, so nothing prints its attributes.
    """

    __slots__ = ("_facts", "_host", "_key", "_url")

    def __init__(self) -> None:
        self._facts: tuple[str | None, ...] = ()
        self._key = b""
        self._url: str | None = None
        self._host = ""

    def key(self, signature: SigV4Auth, date: str) -> bytes:
        """Return the key for a day: a new one if the credentials or anything else has changed."""
        # No variable of this frame holds the secret key, because tracebacks may show variables.
        if self._facts != _facts_of(signature, date):
            self._key = _derived_key(signature, date)
            self._facts = _facts_of(signature, date)
        return self._key

    def host(self, url: str) -> str:
        """Return the host of a URL, as it is signed."""
        if url != self._url:
            self._host = auth._host_from_url(url)
            self._url = url
        return self._host

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be copied or pickled."""
        raise TypeError("A signing key is neither copied nor pickled.")

    def __getstate__(self) -> NoReturn:
        """Refuse, because some serializers call this alone."""
        raise TypeError("A signing key is neither copied nor pickled.")


def _facts_of(signature: SigV4Auth, date: str) -> tuple[str | None, ...]:
    """Return what a signing key depends on."""
    return (
        signature.credentials.access_key,
        signature.credentials.secret_key,
        date,
        signature._region_name,
        signature._service_name,
    )


def _derived_key(signature: SigV4Auth, date: str) -> bytes:
    """Derive the key by the four steps that AWS defines for version 4."""
    key = f"AWS4{signature.credentials.secret_key}".encode()
    for step in (date, signature._region_name, signature._service_name, "aws4_request"):
        key = signature._sign(key, step)
    return key


class _KeepingSigner(AioRequestSigner):
    """aiobotocore's signer of one client, whose signatures have a memory in common."""

    _kept: _Kept

    async def get_auth_instance(self, *args: Any, **kwargs: Any) -> Any:
        """Return what signs one request; it remembers only if it is botocore's ordinary one."""
        signature = await super().get_auth_instance(*args, **kwargs)
        if type(signature) is SigV4Auth:
            signature._kept = self._kept
            signature.__class__ = _KeepingSignature
        return signature


class _KeepingSignature(SigV4Auth):
    """botocore's signature of one request, with fewer steps."""

    _kept: _Kept
    # The headers that are signed: the values by the name in lower case.
    _signed: dict[str, str] | None = None

    def canonical_request(self, request: Any) -> str:
        """Return the text that is signed."""
        self._signed = None
        return super().canonical_request(request)

    def headers_to_sign(self, request: Any) -> dict[str, str]:
        """Return the headers that are signed; botocore asks again for those that it has signed."""
        if self._signed is None:
            self._signed = self._selected_headers(request)
        return self._signed

    def _selected_headers(self, request: Any) -> dict[str, str]:
        # botocore makes a mail message of them, which is many times slower than a dict.
        selected: dict[str, str] = {}
        for name, value in request.headers.items():
            lower_name = name.lower()
            # Programs add names to botocore's list, so it is read each time.
            if lower_name in auth.SIGNED_HEADERS_BLACKLIST:
                continue
            trimmed = self._header_value(value)
            if lower_name in selected:
                trimmed = f"{selected[lower_name]},{trimmed}"
            selected[lower_name] = trimmed
        if "host" not in selected:
            host = self._kept.host(request.url)
            selected["host"] = self._header_value(host)
        return selected

    def canonical_headers(self, headers_to_sign: dict[str, str]) -> str:
        """Return a line per header, in the order of their names."""
        lines = [f"{name}:{headers_to_sign[name]}" for name in sorted(headers_to_sign)]
        return "\n".join(lines)

    def payload(self, request: Any) -> str:
        """Return the hash of the body."""
        body = request.data
        is_whole = type(body) is bytes and not self._is_streaming_checksum_payload(request)
        if is_whole and self._should_sha256_sign_payload(request):
            # botocore would prepare the whole request first, only to read its body.
            return sha256(body).hexdigest()
        return super().payload(request)

    def signature(self, string_to_sign: str, request: Any) -> str:
        """Return the signature."""
        date = request.context["timestamp"][:8]
        try:
            key = self._kept.key(self, date)
        except UnicodeEncodeError:
            # A secret key that isn't text: botocore raises the same, and its errors' texts, which
            # show a part of the key, are never printed.
            return super().signature(string_to_sign, request)
        return self._sign(key, string_to_sign, hex=True)
