"""JSON is parsed once per version; each caller gets a copy, and copying is never slower than parsing."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from aiocredentials import AsyncCredentialsManager, CredentialsPool, _json_copies
from aiocredentials._json_copies import DEEPEST_KEPT, LONGEST_KEPT, parse
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40)


def containers(value: object) -> Iterator[Any]:
    """Yield a container, and all those in it."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return
    yield value
    for each in inner:
        yield from containers(each)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(JSON)
def test_a_copy_is_a_copy(value: object) -> None:
    """A copy equals the parsed value, and shares no container with it or with another copy."""
    parsed, copy = parse(json.dumps(value))
    assert parsed == value
    if copy is None:
        return
    first = copy()
    second = copy()
    assert first == second == value
    assert json.dumps(first) == json.dumps(value)
    owned = [{id(each) for each in containers(one)} for one in (parsed, first, second)]
    assert not owned[0] & owned[1]
    assert not owned[1] & owned[2]
    for each in containers(first):
        each.clear()
    assert copy() == second == value


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"username": "app", "password": "p"},
        {f"KEY_{number}": "value" for number in range(40)},
        {"database": {"user": "a", "hosts": ["h1", "h2"]}, "flags": [1, 2]},
        [{"name": "reports", "on": True, "ports": [1, 2]} for _ in range(50)],
        "text",
        7,
        None,
    ],
    ids=["empty object", "empty array", "pair", "40 keys", "nested", "array of objects", "text", "number", "null"],
)
def test_what_secrets_look_like_is_copied(value: object) -> None:
    """The shapes that secrets have are parsed once."""
    _, copy = parse(json.dumps(value))
    assert copy is not None
    assert copy() == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30 + "]" * 30,
        json.dumps([[[1]] for _ in range(100)], separators=(",", ":")),
        json.dumps([[] for _ in range(500)], separators=(",", ":")),
        '{"key": ' * (DEEPEST_KEPT + 1) + f'"{"x" * 1000}"' + "}" * (DEEPEST_KEPT + 1),
        json.dumps({"key": "x" * LONGEST_KEPT}),
    ],
    ids=["brackets", "many arrays in arrays", "many empty arrays", "deep", "long"],
)
def test_where_copying_is_not_faster(text: str) -> None:
    """Containers almost without content, deep ones and long texts are parsed each time."""
    parsed, copy = parse(text)
    assert copy is None
    assert parsed == json.loads(text)


def test_never_pickled() -> None:
    """What copies the parsed value can't be pickled."""
    _, copy = parse('{"database": {"user": "a", "hosts": ["h1", "h2"]}, "flags": [1, 2]}')
    assert copy is not None
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(copy)
    with pytest.raises(TypeError, match="can't be pickled"):
        copy.__getstate__()  # type: ignore[attr-defined]


def test_the_limits() -> None:
    """The deepest value and the longest text that are kept."""
    deepest = '{"key": ' * DEEPEST_KEPT + f'"{"x" * 1000}"' + "}" * DEEPEST_KEPT
    assert parse(deepest)[1] is not None
    longest = json.dumps("x" * (LONGEST_KEPT - 2))
    assert len(longest) == LONGEST_KEPT
    assert parse(longest)[1] is not None


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each text that is parsed."""
    texts: list[str] = []

    def noted(text: str) -> object:
        texts.append(text)
        return json.loads(text)

    class Json:
        loads = staticmethod(noted)

    monkeypatch.setattr(_json_copies, "json", Json)
    return texts


@pytest.mark.parametrize("how", ["retrieve_secret_string", "get"])
async def test_once_per_version(how: str, parsed: list[str]) -> None:
    """A version is parsed once, however many callers and managers read it; a new version once more."""
    aws = FakeSecretsManager()
    aws.set("app/settings", {"version": 1, "hosts": {"reader": ["h1"]}})
    async with CredentialsPool(session=aws) as pool:
        managers: list[AsyncCredentialsManager[Any]] = [pool.manager("app/settings") for _ in range(3)]
        for _ in range(5):
            for manager in managers:
                read = await getattr(manager, how)()
                assert read == {"version": 1, "hosts": {"reader": ["h1"]}}
                read["hosts"]["reader"].append("spoiled")
        assert len(parsed) == 1

        aws.set("app/settings", {"version": 2, "hosts": {}})
        await managers[0].refresh()
        assert [await getattr(manager, how)() for manager in managers] == [{"version": 2, "hosts": {}}] * 3
        assert len(parsed) == 2


async def test_nothing_old_is_kept() -> None:
    """After an invalidation, the parsed value of the old version isn't in memory any more."""
    aws = FakeSecretsManager()
    aws.set("app/settings", {"marker": "of version 1", "inner": {"more": [1]}})
    async with CredentialsPool(session=aws) as pool:
        manager = pool.manager("app/settings")
        await manager.retrieve_secret_string()
        assert await manager.get() == {"marker": "of version 1", "inner": {"more": [1]}}
        manager.invalidate()
        # The loop holds the future that woke this task up until the task waits again.
        await asyncio.sleep(0)
        gc.collect()
        dicts = [thing for thing in gc.get_objects() if type(thing) is dict]
        kept = [each for each in dicts if each.get("marker") == "of version 1"]
        # The fake keeps its secrets as text.
        assert len(kept) == 0


async def test_long_texts_take_no_more_memory(parsed: list[str]) -> None:
    """A text of more than 16 KiB is parsed at each call, and not kept as objects."""
    aws = FakeSecretsManager()
    aws.set("app/long", {"certificate": "x" * LONGEST_KEPT})
    async with CredentialsPool(session=aws) as pool:
        manager = pool.manager("app/long")
        for _ in range(3):
            assert len((await manager.retrieve_secret_string())["certificate"]) == LONGEST_KEPT
    assert len(parsed) == 3
