"""Secrets by way of AWS's local agent, or of Lambda's extension: one cache for a whole host.

The agent is the AWS Secrets Manager Agent, which is called Workload Credentials Provider from
version 3 on. Import this module by its name: `from aiocredentials.agent import LocalAgent`.
"""

from __future__ import annotations

import asyncio
import os
import re
import warnings
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiocredentials._agent.client import AgentClient
from aiocredentials._agent.state import AgentState
from aiocredentials._agent.tokens import Token
from aiocredentials._arguments import check_name, check_region, seconds
from aiocredentials._aws.redact import without_password
from aiocredentials.errors import (
    CredentialsError,
    EndpointUnreachableError,
    InvalidRegionError,
    make_error,
    shown,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta
    from pathlib import Path

__all__ = ["LocalAgent"]

_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
# The agent's own check of a role (parse.rs). The pattern of `_aws.roles` accepts every ARN that STS
# and IAM accept. The agent refuses some of these, in a plain text without the ARN.
_ROLE = re.compile(r"arn:[\w-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+", re.ASCII)


class LocalAgent:
    """AWS's local agent, as the session of a pool or a manager.

    The agent fetches secrets with its own AWS credentials and caches them for all processes of a
    host. This process needs no AWS credentials, only the agent's token. `refresh()`, and the first
    fetch after `invalidate()`, bypass the agent's cache: they send `refreshNow=true`, which agents
    accept from version 1.1 on.

    The agent asks one region. If it answers from another region than was asked, the error is an
    `InvalidParameterError`. So `Secret.region` is always the region in the ARN, and a pool's
    `replica_regions` has no effect. The agent has no batches: `prefetch` makes one call per secret,
    on `connections` connections. It can't describe a secret.

    The role of the agent needs `secretsmanager:GetSecretValue` and `secretsmanager:DescribeSecret`.

    Example:
        ```python
        from aiocredentials import CredentialsPool
        from aiocredentials.agent import LocalAgent


        async def password() -> str:
            async with CredentialsPool(session=LocalAgent(region_name="eu-west-1")) as pool:
                fields = await pool.manager("prod/database").get()
                return fields["password"]
        ```

    Args:
        url: The address of the agent.
        token: The agent's token, `"file:///path"`, or the path of the file that contains it. By
            default it is the first of AWS_TOKEN, AWS_SESSION_TOKEN and
            AWS_CONTAINER_AUTHORIZATION_TOKEN that is set, which may also be a `file://` reference;
            otherwise the content of `/var/run/awssmatoken`. A file is read in a thread, and again
            when the agent refuses the token.
        region_name: The region that the agent asks. By default AWS_REGION or AWS_DEFAULT_REGION, as
            for the agent itself.
        role_arn: A role that the agent assumes to fetch the secrets. It needs agent 2.1 or newer.
        connections: How many connections each client opens at most; there is one client per event
            loop. The agent allows 800 for all processes, unless its `max_conn` is changed.
        allow_remote: Whether the agent may be on another host.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `url` isn't a URL, or names another host while `allow_remote` is False; `token`
            can't be sent in a header; `role_arn` isn't the ARN of a role; or `connections` is less
            than 1.
    """

    def __init__(
        self,
        url: str = "http://localhost:2773",
        *,
        token: str | Path | None = None,
        region_name: str | None = None,
        role_arn: str | None = None,
        connections: int = 8,
        allow_remote: bool = False,
    ) -> None:
        check_region(region_name)
        _check_role(role_arn)
        _check_connections(connections)
        self._state = AgentState(
            _checked_url(url, allow_remote=allow_remote),
            Token(token),
            region_name=region_name,
            role_arn=role_arn,
            connections=connections,
        )

    @property
    def region_name(self) -> str:
        """The region that the agent asks, as configured in this process.

        Raises:
            InvalidRegionError: Neither the argument nor the environment names a region.
        """
        if self._state.region_name is not None:
            return self._state.region_name
        for variable in _REGION_VARIABLES:
            region = os.environ.get(variable)
            if region:
                return region
        what = "The region of the local agent isn't known."
        advice = "Give LocalAgent the agent's region as region_name, or set AWS_REGION."
        raise make_error(InvalidRegionError, what, advice=advice)

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[AgentClient]:
        """Make a client for a pool or a manager, as every `CustomSession` does."""
        return AgentClient(self._state, region_name)

    async def ping(self, timeout: float | timedelta = 2.0) -> None:  # noqa: ASYNC109 (as elsewhere)
        """Ask the agent whether it runs, for a health check. It needs no token.

        An answer doesn't prove that the agent can fetch a secret. Lambda's extension doesn't
        support this request.

        Args:
            timeout: How long the agent may take, in seconds or as a `timedelta`.

        Raises:
            EndpointUnreachableError: The agent doesn't answer.
            MalformedResponseError: The answer isn't the agent's.
            InternalServiceError: The answer has an HTTP status of 5xx.
        """
        limit = seconds(timeout, "timeout")
        failure: CredentialsError | None
        try:
            async with asyncio.timeout(limit):
                async with AgentClient(self._state, "") as client:
                    failure = await client.ping()
        except TimeoutError:
            what = f"The local agent at {self._state.url} didn't answer within {limit:g} s."
            failure = make_error(EndpointUnreachableError, what, advice="Is the agent running?")
        if failure is not None:
            raise failure

    def __repr__(self) -> str:
        """Show the address, and leave the token out."""
        return f"<LocalAgent {self._state.url}>"


def _check_role(role_arn: str | None) -> None:
    what_to_do = "give the ARN of a role, such as 'arn:aws:iam::123456789012:role/reader'"
    check_name("role_arn", role_arn, what_to_do)
    if role_arn is not None and _ROLE.fullmatch(role_arn) is None:
        raise ValueError(f"role_arn is {shown(role_arn)}: {what_to_do}.")


def _check_connections(connections: object) -> None:
    if not isinstance(connections, int) or isinstance(connections, bool):
        kind = type(connections).__name__
        raise TypeError(f"connections is a {kind}: give a whole number.")
    if connections < 1:
        raise ValueError(f"connections is {connections}: give 1 or more.")


def _checked_url(url: object, *, allow_remote: object) -> str:
    """Return the address without a slash at its end."""
    what_to_do = "give the address of the agent, such as 'http://localhost:2773'"
    if not isinstance(url, str):
        raise TypeError(f"url is a {type(url).__name__}: {what_to_do}.")
    if not isinstance(allow_remote, bool):
        raise TypeError(f"allow_remote is a {type(allow_remote).__name__}: give True or False.")
    check_name("url", url, what_to_do)
    safe_url = without_password(url)
    host = _host_of(url)
    if host is None:
        raise ValueError(
            f"url {safe_url!r} isn't the address of an agent: write it as 'http://localhost:2773', "
            "without a path, a user or a password."
        )
    if _is_loopback(host):
        return url.rstrip("/")
    if not allow_remote:
        raise ValueError(
            f"url {safe_url!r} is on another host, and an agent answers its own host only: write "
            "'http://localhost:2773', or pass allow_remote=True."
        )
    if not url.startswith("https:"):
        what = f"{safe_url} isn't encrypted: secrets and the token are sent as plain text."
        warnings.warn(f"{what} Use https.", UserWarning, stacklevel=3)
    return url.rstrip("/")


def _host_of(url: str) -> str | None:
    """Return the host of an address that has nothing but a scheme, a host and a port."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        has_port = parts.port != 0
    except ValueError:
        return None
    rest = parts.path.strip("/") + parts.query + parts.fragment
    is_address = parts.scheme in {"http", "https"} and has_port and not rest
    if not is_address or "@" in url or re.search(r"\s", url):
        return None
    return host or None


def _is_loopback(host: str) -> bool:
    # `_aws.transport` has the same check for a URL, but imports aiobotocore and aiohttp.
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
