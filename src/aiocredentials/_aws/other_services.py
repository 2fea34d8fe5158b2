"""Clients of services other than Secrets Manager, with the session and the settings of a pool.

Nothing here is imported or loaded until a feature needs such a client. Its transport, credential
chain and redaction of wire logs are those of the pool's own clients; `session` opens both.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from botocore.exceptions import ClientError

from aiocredentials._aws.mapping import map_error
from aiocredentials._aws.origins import is_about_credentials
from aiocredentials._aws.redact import our_call, wire_logs_redacted, without_password
from aiocredentials._aws.regions import default_region
from aiocredentials._aws.session import note_refusal, open_session
from aiocredentials._aws.settings import check_session, core_of, is_custom
from aiocredentials._loops import loading
from aiocredentials.errors import LONGEST_SENTENCE, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiobotocore.session import AioSession

    from aiocredentials._aws.settings import AnySession, ClientSettings

_MODELS = ("service-2", "endpoint-rule-set-1")
# A code of AWS, such as AWS.SimpleQueueService.NonExistentQueue. `re` compiles it at its first use.
_CODE = r"[A-Za-z][A-Za-z0-9.]{0,99}"


class Service(NamedTuple):
    """A service, and where it is asked."""

    name: str
    """botocore's name of the service."""
    title: str
    """Its name in messages."""
    endpoint_url: str
    region_name: str | None
    """The region that signatures name; None means the default region of the settings."""
    read_timeout: float
    """For how many seconds an answer may be awaited: longer than the longest poll."""


class Explanation(NamedTuple):
    """The meaning of an error."""

    kind: str
    """The code that AWS answered, or the name of our class of errors."""
    text: str


class _Loader(Protocol):
    def load_service_model(
        self, service_name: str, type_name: str, *, api_version: str | None
    ) -> object: ...


def settings_for_others(
    settings: ClientSettings,
    session: AnySession | None = None,
) -> ClientSettings:
    """Return the settings of a pool for other services.

    `session` takes the place of the pool's session. A `CustomSession` makes clients for Secrets
    Manager only, so AWS's default chain takes its place. Raises `TypeError` if `session` is one
    itself, or of a wrong type.
    """
    if is_custom(session):
        raise TypeError(
            "session makes clients for Secrets Manager only: "
            "give an aioboto3.Session or an aiobotocore AioSession, or leave it out."
        )
    check_session(session, more=", or leave it out")
    if session is None and not is_custom(settings.session):
        session = settings.session
    return replace(settings, session=session, endpoint_url=None)


@asynccontextmanager
async def opened_client(
    service: Service,
    settings: ClientSettings,
    warned: set[str] | None = None,
) -> AsyncGenerator[Any]:
    """Open a session and a client of a service, for one `async with`.

    If AWS refuses the credentials inside the block, the next session loads them again. Raises a
    `CredentialsError` if the session can't be opened, and botocore's error if the client can't.

    Args:
        service: The service.
        settings: The settings of a pool for other services.
        warned: The endpoints for which a warning was issued. Give the same set for all clients that
            belong together, so there is one warning per endpoint.
    """
    warned = set() if warned is None else warned
    redact = settings.redact_wire_logs
    with wire_logs_redacted(redact=redact), our_call(redact=redact):
        session = await open_session(settings)
        core = core_of(session)
        await asyncio.to_thread(_load_models, core.get_component("data_loader"), service.name)
        region_name = service.region_name
        if region_name is None:
            region_name = default_region(settings, session).name
        async with _new_client(core, service, region_name) as client:
            _check(client, settings, warned)
            try:
                yield client
            except Exception as error:
                note_refusal(settings, error)
                raise


def _load_models(loader: _Loader, service_name: str) -> None:
    """Read the models of a service, in a thread: it takes several milliseconds the first time."""
    with loading:
        for type_name in _MODELS:
            # With the arguments of botocore, for which the loader then has the result.
            loader.load_service_model(service_name, type_name, api_version=None)


def _new_client(core: AioSession, service: Service, region_name: str) -> Any:  # noqa: ANN401
    # It was imported together with the transport.
    from aiocredentials._aws.transport import TrustedConfig  # noqa: PLC0415

    config = TrustedConfig(
        read_timeout=service.read_timeout,
        # The caller gave the endpoint, so these settings of the environment choose no other one.
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
    )
    create: Any = core.create_client
    return create(
        service.name,
        region_name=region_name,
        endpoint_url=service.endpoint_url,
        config=config,
    )


def _check(
    client: Any,  # noqa: ANN401 (any service's client)
    settings: ClientSettings,
    warned: set[str],
) -> None:
    """Warn of an unencrypted endpoint. Raises `TypeError` if the transport can't be trusted."""
    from aiocredentials._aws import transport  # noqa: PLC0415 (imported by now)

    transport.transport_of(client)
    endpoint = str(client.meta.endpoint_url)
    is_in_clear = transport.is_plain(endpoint) and not transport.is_loopback(endpoint)
    if is_in_clear and endpoint not in warned:
        warned.add(endpoint)
        safe_url = without_password(endpoint)
        settings.chosen_at.warn(
            f"{safe_url} isn't encrypted: tokens are sent as plain text. Use https."
        )


def refusal_in(
    answer: dict[str, Any],
    operation: str,
    *,
    code: str = "",
    sentence: str = "",
) -> ClientError:
    """Return the error that botocore would raise for the same answer with an error's status.

    Without a code, the error means that the answer isn't AWS's.
    """
    error = {"Code": code, "Message": sentence}
    response: Any = {"Error": error, "ResponseMetadata": answer.get("ResponseMetadata", {})}
    return ClientError(response, operation)


def explained(
    error: Exception,
    service: Service,
    settings: ClientSettings,
) -> Explanation:
    """Return what an error of such a client means, without what may be secret in it."""
    if isinstance(error, ClientError) and not is_about_credentials(error):
        return _answered(error, service)
    mapped = map_error(error, profile=settings.profile)
    text = str(mapped).replace("Secrets Manager", service.title)
    return Explanation(type(mapped).__name__, text)


def _answered(error: ClientError, service: Service) -> Explanation:
    """Return what a service answered. Only a JSON answer with a code is of AWS."""
    response: dict[str, Any] = dict(error.response)
    answer: dict[str, Any] = response.get("Error", {})
    metadata: dict[str, Any] = response.get("ResponseMetadata", {})
    code = str(answer.get("Code"))
    headers: dict[str, str] = metadata.get("HTTPHeaders", {})
    is_json = "json" in headers.get("content-type", "json")
    if is_json and re.fullmatch(_CODE, code):
        sentence = one_line(str(answer.get("Message") or ""), LONGEST_SENTENCE)
        reason = f": {sentence}" if sentence else ""
        return Explanation(code, _ended(f"{service.title} answered {code}{reason}"))

    status = metadata.get("HTTPStatusCode")
    text = (
        f"{service.title} gave no usable answer: HTTP status {status}, and a body that isn't AWS's."
    )
    return Explanation("MalformedResponseError", text)


def _ended(text: str) -> str:
    """Return a text that ends a sentence, because another one may follow: AWS's may have no end."""
    is_ended = text.endswith((".", "!", "?"))
    return text if is_ended else f"{text}."
