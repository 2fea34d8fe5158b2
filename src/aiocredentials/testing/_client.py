"""The client that a fake session lends.

It records each call, waits at gates, fails as the test asked, and answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from botocore.exceptions import ClientError, InvalidRegionError, ParamValidationError

from aiocredentials.testing._failures import Failures, answered, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiocredentials.testing._account import Account, Answer

    Gates: TypeAlias = Sequence[tuple[str | None, "Gate"]]
    """Each gate, with the name of the secret whose calls wait there; None for all calls."""
    Names: TypeAlias = set[str | None]
    """Names of secrets; None stands for all calls."""

GET = "GetSecretValue"
DESCRIBE = "DescribeSecret"
BATCH_GET = "BatchGetSecretValue"

# The shortest and the longest length of each parameter (API reference). botocore checks the
# shortest before it sends anything, and AWS checks the longest.
_LENGTHS = {
    "SecretId": (1, 2048),
    "VersionId": (32, 64),
    "VersionStage": (1, 256),
    "SecretIdList": (1, 20),
}
# botocore rejects any other region, because a region is a label of a host name.
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that arrived at the fake. It holds no value."""

    operation: str
    """AWS's name of it: `GetSecretValue`, `BatchGetSecretValue` or `DescribeSecret`."""
    secret_names: tuple[str, ...]
    """The identifiers that were asked: one, or several in a batch."""
    region_name: str
    """The region of the client."""
    version_id: str | None = None
    """The requested version id, if any."""
    version_stage: str | None = None
    """The requested staging label, if any."""


class Gate:
    """A gate at which calls wait until it is released.

    `FakeSecretsManager.hold` returns one. As a context manager, it is released at the end of the
    block. Any thread may release it.

    Example:
        ```python
        import asyncio

        from aiocredentials import CredentialsPool
        from aiocredentials.testing import FakeSecretsManager


        async def test_a_slow_call() -> None:
            fake = FakeSecretsManager({"prod/database": "made up"})
            async with CredentialsPool(session=fake) as pool:
                manager = pool.manager("prod/database", decode=str)
                with fake.hold("prod/database") as gate:
                    task = asyncio.create_task(manager.get())
                    await gate.reached()
                    assert not task.done()
                await task
        ```
    """

    def __init__(self) -> None:
        self._reached = _future_for_all()
        self._released = _future_for_all()

    async def reached(self) -> None:
        """Wait until a call has arrived at the gate."""
        await asyncio.wrap_future(self._reached)

    def release(self) -> None:
        """Let all calls continue, those that wait and later ones. A second call has no effect."""
        _finish(self._released)

    @property
    def is_released(self) -> bool:
        """Whether the gate has been released."""
        return self._released.done()

    async def _wait(self) -> None:
        _finish(self._reached)
        await asyncio.wrap_future(self._released)

    def __enter__(self) -> Self:
        """Return the gate."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the gate."""
        self.release()


def _future_for_all() -> Future[None]:
    """Return a future that is running: one waiter that is cancelled doesn't cancel it for all."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


def _finish(future: Future[None]) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_result(None)


class FakeClient:
    """A client for one region. It returns dicts like botocore's and raises botocore's errors."""

    def __init__(
        self,
        region_name: str,
        account: Account,
        failures: Failures,
        gates: Gates,
        record: Callable[[Call], None],
    ) -> None:
        if not _HOST_LABEL.fullmatch(region_name):
            raise InvalidRegionError(region_name=region_name)

        self._region = region_name
        self._account = account
        self._failures = failures
        self._gates = gates
        self._record = record

    async def get_secret_value(self, **parameters: Any) -> Answer:  # noqa: ANN401 (as in botocore)
        """Answer GetSecretValue."""
        secret_id = parameters["SecretId"]
        await self._arrive(GET, (secret_id,), parameters)
        answer = self._answer(parameters, GET)
        return _with_metadata(answer)

    async def describe_secret(self, **parameters: Any) -> Answer:  # noqa: ANN401 (as in botocore)
        """Answer DescribeSecret."""
        secret_id = parameters["SecretId"]
        await self._arrive(DESCRIBE, (secret_id,), parameters)
        secret = self._account.find(self._region, secret_id, DESCRIBE)
        return _with_metadata(secret.description())

    async def batch_get_secret_value(self, **parameters: Any) -> Answer:  # noqa: ANN401 (any)
        """Answer BatchGetSecretValue with one page."""
        secret_ids = tuple(parameters["SecretIdList"])
        await self._arrive(BATCH_GET, secret_ids, parameters)

        values: list[Answer] = []
        errors: list[Answer] = []
        for secret_id in secret_ids:
            try:
                value = self._one_of_batch(secret_id)
            except ClientError as error:
                failed = _batch_error(secret_id, error)
                errors.append(failed)
            else:
                values.append(value)
        answer: Answer = {"SecretValues": values, "Errors": errors}
        return _with_metadata(answer)

    def _one_of_batch(self, secret_id: str) -> Answer:
        names = self._possible_names(secret_id)
        failure = self._failures.take(BATCH_GET, names, self._region)
        if failure is not None:
            raise failure
        return self._answer({"SecretId": secret_id}, BATCH_GET)

    def _answer(self, parameters: Mapping[str, Any], operation: str) -> Answer:
        return self._account.get(
            self._region,
            parameters,
            operation,
        )

    async def _arrive(
        self,
        operation: str,
        secret_ids: tuple[str, ...],
        parameters: Mapping[str, Any],
    ) -> None:
        """Record a call, wait at its gates, and raise the failure that the test asked for."""
        _check_shortest(parameters)
        call = Call(
            operation=operation,
            secret_names=secret_ids,
            region_name=self._region,
            version_id=parameters.get("VersionId"),
            version_stage=parameters.get("VersionStage"),
        )
        self._record(call)
        # A call to AWS always lets other tasks run.
        await asyncio.sleep(0)

        # A gate or a failure without a name is for all calls.
        names: Names = {None}
        for secret_id in secret_ids:
            names |= self._possible_names(secret_id)
        await self._wait_at_gates(names)

        # A failure with a name fails its secret of a batch, not the whole call.
        if operation == BATCH_GET:
            names = {None}
        failure = self._failures.take(operation, names, self._region)
        if failure is not None:
            raise failure
        _check_longest(parameters, operation)

    async def _wait_at_gates(self, names: Names) -> None:
        for name, gate in list(self._gates):
            if name in names:
                await gate._wait()  # noqa: SLF001 (users of a gate have no use for it)

    def _possible_names(self, secret_id: str) -> Names:
        """Return the names by which a test may mean a secret: the identifier, and the name."""
        secret = self._account.resolve(self._region, secret_id)
        if secret is None:
            return {secret_id}
        return {secret_id, secret.name}


def _with_metadata(answer: Answer) -> Answer:
    return {**answer, "ResponseMetadata": metadata(200)}


def _batch_error(secret_id: str, error: ClientError) -> Answer:
    answer = error.response.get("Error", {})
    return {
        "SecretId": secret_id,
        "ErrorCode": answer.get("Code"),
        "Message": answer.get("Message"),
    }


def _check_shortest(parameters: Mapping[str, Any]) -> None:
    """Reject a parameter that botocore rejects before it sends anything."""
    for name, (shortest, _) in _LENGTHS.items():
        if name not in parameters:
            continue

        length = len(parameters[name])
        if length < shortest:
            reason = f"value: {length}, valid min length: {shortest}"
            report = f"Invalid length for parameter {name}, {reason}"
            raise ParamValidationError(report=report)


def _check_longest(
    parameters: Mapping[str, Any],
    operation: str,
) -> None:
    """Reject a parameter that AWS rejects. One name that is too long fails the whole batch."""
    for name, (_, longest) in _LENGTHS.items():
        length = len(parameters.get(name, ""))
        if length > longest:
            rule = f"Member must have length less than or equal to {longest}"
            raise _too_long(name, rule, operation)

    _, longest = _LENGTHS["SecretId"]
    for secret_id in parameters.get("SecretIdList", ()):
        if len(secret_id) > longest:
            rule = (
                "Member must satisfy constraint: "
                f"[Member must have length less than or equal to {longest}]"
            )
            raise _too_long("SecretIdList", rule, operation)


def _too_long(
    name: str,
    rule: str,
    operation: str,
) -> ClientError:
    first = name[0].lower()
    rest = name[1:]
    message = (
        f"1 validation error detected: Value at '{first}{rest}' "
        f"failed to satisfy constraint: {rule}"
    )
    return answered("ValidationException", operation, message)
