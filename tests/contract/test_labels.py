"""Staging labels: every short sequence of changes leaves them where a small model says.

The model is AWS's (API reference, PutSecretValue and UpdateSecretVersionStage). A test of a rotation
relies on it after the first change as well as after the fourth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from aiocredentials import SecretNotFoundError
from aiocredentials.testing import FakeSecretsManager, SecretsEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiocredentials import CredentialsPool
    from aiocredentials.testing import SeededVersion
    from contract.conftest import Backend

CHANGES = ("set", "rotate", "begin", "finish")


@dataclass
class Model:
    """Where the labels are: a value stands for the version that has it."""

    current: str | None = None
    previous: str | None = None
    pending: str | None = None
    values: list[str] = field(default_factory=list[str])

    def refuses(self, change: str) -> str | None:
        """Return the words of the error that a change ends in now."""
        if change == "finish" and self.pending is None:
            return "has no AWSPENDING version"
        if change in {"rotate", "begin"} and self.pending not in {None, self.current}:
            return "isn't finished"
        return None

    def change(self, change: str, value: str) -> None:
        """Move the labels; `value` is that of the new version, if there is one."""
        if change == "finish":
            value = str(self.pending)
        else:
            self.values.append(value)
        if change == "begin":
            self.pending = value
            self.current = self.current or value
            return
        if self.current != value:
            self.previous = self.current
        self.current = value
        if change != "set":
            self.pending = None


class Story:
    """One secret, its model, and the ids of its versions."""

    def __init__(self, backend: Backend, *, has_value: bool = True) -> None:
        self.secrets = backend.secrets
        self.name = backend.name()
        self.model = Model()
        self.versions: dict[str, str | None] = {}
        if has_value:
            self.model.change("set", "v0")
            self.versions["v0"] = self.secrets.set(self.name, "v0").version_id
        else:
            self.secrets.set(self.name, None)

    def act(self, change: str) -> SeededVersion:
        """Make a change."""
        value = f"v{len(self.versions)}"
        if change == "set":
            return self.secrets.set(self.name, value)
        if change == "finish":
            return self.secrets.finish_rotation(self.name)
        return self.secrets.rotate(self.name, value, promote=change == "rotate")

    def change(self, change: str) -> None:
        """Make a change, in the model as well."""
        value = f"v{len(self.versions)}"
        seeded = self.act(change)
        self.model.change(change, value)
        if change == "finish":
            assert seeded.version_id == self.versions[str(self.model.current)]
        else:
            self.versions[value] = seeded.version_id
        assert seeded.name == self.name

    async def check(self, pool: CredentialsPool) -> None:
        """Read by each label, by each version's id and in a batch."""
        reading = pool.manager(self.name, policy=None)
        labels = {
            "AWSCURRENT": self.model.current,
            "AWSPREVIOUS": self.model.previous,
            "AWSPENDING": self.model.pending,
        }
        for label, value in labels.items():
            if value is None:
                with pytest.raises(SecretNotFoundError):
                    await reading.secret(version_stage=label)
            else:
                secret = await reading.secret(version_stage=label)
                assert (label, secret.reveal(), secret.version_id) == (label, value, self.versions[value])
        for value, version_id in self.versions.items():
            secret = await reading.secret(version_id=version_id)
            held = sorted(label for label, holder in labels.items() if holder == value)
            assert (secret.reveal(), sorted(secret.version_stages)) == (value, held)
        if self.model.current is not None:
            await pool.prefetch(self.name)
            prefetched = await pool.manager(self.name).secret()
            assert prefetched.reveal() == self.model.current


def sequences(length: int, model: Callable[[], Model]) -> Iterator[tuple[str, ...]]:
    """Make all sequences of that many changes, none of which is refused."""

    def longer(done: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if len(done) == length:
            yield done
            return
        now = model()
        for number, change in enumerate(done):
            now.change(change, f"v{number + 1}")
        for change in CHANGES:
            if now.refuses(change) is None:
                yield from longer((*done, change))

    return longer(())


def started() -> Model:
    """Make the model of a secret with one version."""
    return Model(current="v0", values=["v0"])


async def check_all(backend: Backend, length: int, *, has_value: bool) -> int:
    """Check each sequence up to a length once, and return how many of that length there are."""
    checked: set[tuple[str, ...]] = set()
    whole = list(sequences(length, started if has_value else Model))
    async with backend.pool() as pool:
        for changes in whole:
            story = Story(backend, has_value=has_value)
            for number, change in enumerate(changes):
                story.change(change)
                done = changes[: number + 1]
                if done in checked:
                    continue
                checked.add(done)
                for other in CHANGES:
                    if sentence := story.model.refuses(other):
                        with pytest.raises(ValueError, match=sentence):
                            story.act(other)
                pool.manager(story.name).invalidate()
                await story.check(pool)
    return len(whole)


async def test_a_rotation_and_what_comes_after_it(backend: Backend) -> None:
    """After a rotation, new values and further rotations are seen, by each label, by id and in a batch."""
    story = Story(backend)
    async with backend.pool() as pool:
        for change in ("begin", "finish", "set", "rotate", "begin", "set", "finish", "rotate"):
            story.change(change)
            pool.manager(story.name).invalidate()
            await story.check(pool)


async def test_every_sequence_of_three_changes(backend: Backend) -> None:
    """After each sequence of `set`, `rotate`, a rotation begun and one finished, readers get AWS's answers.

    A change that is refused says why, and changes nothing.
    """
    assert await check_all(backend, 3, has_value=True) == 21


async def test_every_sequence_from_a_secret_without_a_value(backend: Backend) -> None:
    """The first version is AWSCURRENT, also if it was put as AWSPENDING (API reference, PutSecretValue)."""
    assert await check_all(backend, 2, has_value=False) == 10
    nothing = Story(backend, has_value=False)
    assert backend.secrets.set(nothing.name, None).version_id is None
    nothing.change("set")
    assert backend.secrets.set(nothing.name, None).version_id is None
    async with backend.pool() as pool:
        await nothing.check(pool)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("has_value", [True, False])
async def test_every_sequence_of_five_changes(backend: Backend, *, has_value: bool) -> None:
    """What holds for three changes holds for five."""
    assert await check_all(backend, 5, has_value=has_value) > 100


async def test_labels_that_somebody_else_moved(backend: Backend) -> None:
    """After an app's own rotation, which moves the label by the API, later changes are seen."""
    if isinstance(backend.secrets, FakeSecretsManager):
        pytest.skip("the fake has one way to move labels")
    for change in ("set", "rotate", "begin"):
        story = Story(backend)
        story.change("begin")
        client = backend.secrets._client(None)
        ids = story.versions
        client.update_secret_version_stage(
            SecretId=story.name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=ids["v1"],
            RemoveFromVersionId=ids["v0"],
        )
        client.update_secret_version_stage(
            SecretId=story.name, VersionStage="AWSPENDING", RemoveFromVersionId=ids["v1"]
        )
        story.model.change("finish", "")
        story.change(change)
        if change == "begin":
            story.change("finish")
        async with backend.pool() as pool:
            await story.check(pool)


async def test_a_secret_that_is_to_be_deleted_is_not_changed(backend: Backend) -> None:
    """A secret that is scheduled for deletion can't be changed; restored, it is as it was."""
    story = Story(backend)
    story.change("begin")
    backend.secrets.delete(story.name)
    for change in CHANGES:
        with pytest.raises(ValueError, match="is scheduled for deletion: restore"):
            story.act(change)
    with pytest.raises(ValueError, match="is scheduled for deletion: restore"):
        backend.secrets.delete(story.name)
    backend.secrets.restore(story.name)
    async with backend.pool() as pool:
        await story.check(pool)
    backend.secrets.delete(story.name)
    backend.secrets.delete(story.name, force=True)
    assert backend.secrets.set(story.name, "new").version_id not in story.versions.values()


def test_what_a_test_forgot_to_create(backend: Backend) -> None:
    """For a secret that isn't there, the fake and an endpoint raise the same sentence."""
    name = backend.name()
    secrets: FakeSecretsManager | SecretsEndpoint = backend.secrets
    mistakes: list[Callable[[], object]] = [
        lambda: secrets.rotate(name, "1"),
        lambda: secrets.finish_rotation(name),
        lambda: secrets.delete(name),
        lambda: secrets.delete(name, force=True),
        lambda: secrets.restore(name),
    ]
    for mistake in mistakes:
        with pytest.raises(KeyError, match=r"There is no secret .* create it by set\(\), in that region"):
            mistake()
    with pytest.raises(ValueError, match="AWS refuses the name 'white space'"):
        secrets.set("white space", "1")
