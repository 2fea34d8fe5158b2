"""The route of a region's requests: endpoint and proxy, and the step on it that fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from aiocredentials._aws.regions import SERVICE, Region
from aiocredentials.doctor.wording import reason_of, without_logins

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiobotocore.session import AioSession

    from aiocredentials.errors import CredentialsError

CONNECT_SECONDS = 3.0

_ENDPOINT_VARIABLES = (
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The endpoint and the proxy of a region's requests, without passwords."""

    url: str
    source: str | None
    """The setting that chose the endpoint; None for AWS's own."""
    proxy: str | None


async def find_route(
    session: AioSession,
    region: Region,
    endpoint_url: str | None,
    timeout: float,  # noqa: ASYNC109 (`diagnose` has one limit for each call)
) -> Route | None:
    """Return the route of a region's requests; None if no client can be made.

    In that case the error of a call explains the reason better.

    Args:
        session: The session that makes the clients.
        region: The region that is asked.
        endpoint_url: The endpoint that the user passed.
        timeout: The limit for making a client, in seconds.
    """
    from aiocredentials._aws import transport  # noqa: PLC0415 (300 ms, loaded in a thread by now)

    # No request is sent, so any keys will do. So there is a route without credentials, too.
    keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "unused")
    create = cast("Callable[..., Any]", session.create_client)
    opening = create(
        SERVICE,
        region_name=region.name,
        endpoint_url=endpoint_url,
        **keys,
    )
    try:
        async with asyncio.timeout(timeout), opening as client:
            url = str(client.meta.endpoint_url)
            http_session: Any = transport.transport_of(client)
            proxies = http_session._proxy_config  # noqa: SLF001 (as aiobotocore does)
            proxy: str = proxies.proxy_url_for(url) or ""
            host = str(urlsplit(url).hostname)
    except Exception:  # noqa: BLE001 (a region or a setting that botocore rejects)
        return None

    return Route(
        url=without_logins(url),
        source=_source_of(host, region, endpoint_url),
        proxy=without_logins(proxy) or None,
    )


def _source_of(
    host: str,
    region: Region,
    endpoint_url: str | None,
) -> str | None:
    """Return the setting that chose an endpoint; None for AWS's own."""
    if endpoint_url:
        return "--endpoint-url"
    if host.startswith(f"{SERVICE}.{region.name.lower()}."):
        return None
    variables = filter(os.environ.get, _ENDPOINT_VARIABLES)
    return next(variables, "a setting or the profile")


async def failed_step(route: Route, error: CredentialsError) -> str | None:
    """Return the step that fails, as in `Endpoint.failure`.

    Each step is tried once more by itself, because the error of a retried request is that of its
    last attempt only. None for a URL that can't be split into its parts.
    """
    reason = reason_of(error)
    if "CA bundle or client certificate" in reason:
        return "ca bundle"
    if "TLS" in reason:
        return "tls"

    try:
        parts = urlsplit(route.proxy or route.url)
        usual_port = 443 if parts.scheme == "https" else 80
        port = parts.port or usual_port
    except ValueError:
        return None

    step = await _failed_connection(parts.hostname, port)
    if step is None and "Proxy" not in reason:
        return "no answer"
    # With a proxy, the host name and the connection are the proxy's.
    if step is None or route.proxy:
        return "proxy"
    return step


async def _failed_connection(host: str | None, port: int) -> str | None:
    """Resolve a host name and connect to it; return the step that failed, or None."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, port)
    # A TimeoutError is an OSError too; a UnicodeError is raised for a name that DNS can't express.
    except (OSError, UnicodeError):
        return "dns"

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "timeout"
    except OSError:
        return "refused"

    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None
