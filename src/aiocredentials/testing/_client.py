"""The client that a fake session lends: it notes the call, waits at gates, fails as it was told to, and answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError, InvalidRegionError, ParamValidationError

from aiocredentials.testing._failures import Failures, answered, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocredentials.testing._account import Account

# The API reference's bounds. botocore checks the lower ones before it sends anything, and leaves the upper ones to AWS.
_LENGTHS = {
    "SecretId": (1, 2048),
    "VersionId": (32, 64),
    "VersionStage": (1, 256),
    "SecretIdList": (1, 20),
}
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")  # botocore refuses any other region


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that arrived, without values."""

    operation: str
    """As AWS names it: `GetSecretValue`, `BatchGetSecretValue`, `DescribeSecret`."""
    secret_names: tuple[str, ...]
    """The names or ARNs that were asked; a batch asks for several."""
    region_name: str
    version_id: str | None = None
    version_stage: str | None = None


class Gate:
    """Where calls wait until it is released; as a context manager, at the end of its block. Any thread may release."""

    def __init__(self) -> None:
        self._reached: Future[None] = Future()
        self._released: Future[None] = Future()
        for future in (self._reached, self._released):
            future.set_running_or_notify_cancel()  # so that a waiter who is cancelled doesn't cancel it for all

    async def reached(self) -> None:
        """Wait until a call has come to the gate."""
        await asyncio.wrap_future(self._reached)

    def release(self) -> None:
        """Let all calls go on that wait, or come later; calling it again does nothing."""
        _settle(self._released)

    @property
    def is_released(self) -> bool:
        """Whether calls go on."""
        return self._released.done()

    async def _pass(self) -> None:
        _settle(self._reached)
        await asyncio.wrap_future(self._released)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()


def _settle(future: Future[None]) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_result(None)


class FakeClient:
    """Answers for one region with dicts as botocore makes them, and raises what botocore raises."""

    def __init__(
        self,
        region_name: str,
        account: Account,
        failures: Failures,
        gates: Sequence[tuple[str | None, Gate]],
        note: Callable[[Call], None],
    ) -> None:
        if not _HOST_LABEL.fullmatch(region_name):
            raise InvalidRegionError(region_name=region_name)
        self._region = region_name
        self._account, self._failures, self._gates, self._note = account, failures, gates, note

    async def get_secret_value(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 (botocore's parameters)
        """Answer GetSecretValue."""
        await self._arrive("GetSecretValue", (parameters["SecretId"],), parameters)
        return self._complete(self._account.get(self._region, parameters, "GetSecretValue"))

    async def describe_secret(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 (as above)
        """Answer DescribeSecret."""
        await self._arrive("DescribeSecret", (parameters["SecretId"],), parameters)
        secret = self._account.find(self._region, parameters["SecretId"], "DescribeSecret")
        return self._complete(secret.description())

    async def batch_get_secret_value(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 (as above)
        """Answer BatchGetSecretValue, by ids and on one page."""
        operation, asked = "BatchGetSecretValue", tuple(parameters["SecretIdList"])
        await self._arrive(operation, asked, parameters)
        values: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for secret_id in asked:
            try:
                if failure := self._failures.take(operation, self._names(secret_id)):
                    raise failure
                values.append(self._account.get(self._region, {"SecretId": secret_id}, operation))
            except ClientError as error:
                answer = error.response.get("Error", {})
                errors.append(
                    {
                        "SecretId": secret_id,
                        "ErrorCode": answer.get("Code"),
                        "Message": answer.get("Message"),
                    }
                )
        return self._complete({"SecretValues": values, "Errors": errors})

    async def _arrive(
        self, operation: str, asked: tuple[str, ...], parameters: dict[str, Any]
    ) -> None:
        """Note the call, wait, and fail where that is due."""
        _check_shortest(parameters)
        call = Call(
            operation=operation,
            secret_names=asked,
            region_name=self._region,
            version_id=parameters.get("VersionId"),
            version_stage=parameters.get("VersionStage"),
        )
        self._note(call)
        await asyncio.sleep(0)  # a call to AWS always lets others run
        names: set[str | None] = {None, *(name for each in asked for name in self._names(each))}
        for name, gate in list(self._gates):
            if name in names:
                await gate._pass()  # noqa: SLF001 (the gate's other half)
        if failure := self._failures.take(
            operation, {None} if operation.startswith("Batch") else names
        ):
            raise failure
        _check_longest(parameters, operation)

    def _names(self, asked: str) -> set[str | None]:
        """Return what a test may call the secret that was asked: as it was asked, or by its name."""
        secret = self._account.resolve(self._region, asked)
        return {asked, secret.name} if secret else {asked}

    def _complete(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"ResponseMetadata": metadata(200)}


def _check_shortest(parameters: dict[str, Any]) -> None:
    """Refuse what botocore refuses before it sends anything."""
    for name, (shortest, _) in _LENGTHS.items():
        if name in parameters and len(parameters[name]) < shortest:
            report = f"Invalid length for parameter {name}, value: {len(parameters[name])}, valid min length: {shortest}"
            raise ParamValidationError(report=report)


def _check_longest(parameters: dict[str, Any], operation: str) -> None:
    """Refuse what AWS refuses: of a batch the whole request, also where one of its names is too long."""
    for name, (_, longest) in _LENGTHS.items():
        rule = f"Member must have length less than or equal to {longest}"
        if len(parameters.get(name, "")) > longest:
            raise _too_long(name, rule, operation)
    _, longest = _LENGTHS["SecretId"]
    if any(len(secret_id) > longest for secret_id in parameters.get("SecretIdList", ())):
        rule = f"Member must satisfy constraint: [Member must have length less than or equal to {longest}]"
        raise _too_long("SecretIdList", rule, operation)


def _too_long(name: str, rule: str, operation: str) -> ClientError:
    where = f"{name[0].lower()}{name[1:]}"
    message = (
        f"1 validation error detected: Value at '{where}' failed to satisfy constraint: {rule}"
    )
    return answered("ValidationException", operation, message)
