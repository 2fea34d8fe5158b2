"""The kept signing key, and the secret key that it is made of, are shown nowhere."""

from __future__ import annotations

import base64
import gc
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, CredentialsError, CredentialsPool
from aiocredentials._aws.signing import _KeepingSigner
from leaks.canary import TOKEN, LogKeeper, forms, of_error, of_object, of_process
from leaks.wire import NAME, Wire, answer, secret

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.exhaustive

REFUSAL = answer({"__type": "AccessDeniedException", "Message": "No."}, status=400)


@pytest.fixture(autouse=True)
def _only_what_is_new() -> Iterator[None]:
    """Hide from the collector's list what was there before, so that looking through it is quick."""
    gc.freeze()
    yield
    gc.unfreeze()


def texts_of(pool: CredentialsPool, error: BaseException) -> Iterator[tuple[str, str]]:
    """Print the process, an error, the pool, its clients and their signers."""
    yield from of_process()
    yield from of_error(error)
    yield from of_object(pool)
    for opened in pool._session._loops.get().of(None).current.by_region.values():
        client: Any = opened.client
        yield "a client", repr(client)
        yield "a client's signer", f"{client._request_signer!r} {vars(client._request_signer)!r}"
        yield from of_object(client._request_signer._kept)


async def printed_by(pool: CredentialsPool) -> list[tuple[str, str]]:
    """Print all that is there while a pool fetches and is refused: its key isn't in a frame of this test."""
    with LogKeeper() as logs:
        manager = pool.manager(NAME)
        await manager.secret()
        with pytest.raises(CredentialsError) as info:
            await manager.secret()
        await manager.secret()
    return [*texts_of(pool, info.value), *logs.texts]


@pytest.mark.parametrize("redact", [True, False])
async def test_signing_key(redact: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 (a parameter of pytest)
    """Neither logs nor reprs, errors, tracebacks or pickles show the key of a pool, even where logs aren't redacted."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TOKEN)
    async with (
        Wire(secret(), REFUSAL, secret()) as wire,
        CredentialsPool("eu-west-1", endpoint_url=wire.url, redact_wire_logs=redact, policy=None) as pool,
    ):
        printed = await printed_by(pool)
        (opened, *_) = pool._session._loops.get().of(None).current.by_region.values()
        client: Any = opened.client
        assert type(client._request_signer) is _KeepingSigner
        key: bytes = client._request_signer._kept._key

    assert len(key) == 32
    assert len(printed) > 100
    shown = [text for text, _ in forms(TOKEN)]
    shown += [key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1], key.decode("latin-1")]
    found = [how for how, text in printed if any(each in text for each in shown)]
    assert found == []


@pytest.mark.parametrize("is_pooled", [True, False], ids=["pool", "session per call"])
async def test_a_key_that_is_no_text(is_pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 (as above)
    """A secret key with a byte that isn't UTF-8 is an error whose text shows no part of the key, pooled or not."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{TOKEN}\udcff")
    async with Wire(secret()) as wire, CredentialsPool("eu-west-1", endpoint_url=wire.url) as pool:
        manager = pool.manager(NAME)
        if not is_pooled:
            manager = AsyncCredentialsManager(NAME, "eu-west-1", endpoint_url=wire.url)
        with pytest.raises(CredentialsError) as info:
            await manager.secret()
        printed = list(of_error(info.value))
        assert "UnicodeEncodeError" in str(info.value)
        assert "udcff" not in str(info.value)
    shown = [text for text, _ in forms(TOKEN)]
    assert [how for how, text in printed if any(each in text for each in shown)] == []
