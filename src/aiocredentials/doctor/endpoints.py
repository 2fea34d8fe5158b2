"""`endpoint_of`: whether the endpoint of one region answered, and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiocredentials.doctor.answers import is_about_the_secret, is_answer
from aiocredentials.doctor.results import Endpoint
from aiocredentials.doctor.route import failed_step
from aiocredentials.doctor.wording import advice_of, reason_of
from aiocredentials.errors import CredentialsError, EndpointUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocredentials._aws.regions import Region
    from aiocredentials.doctor.answers import Outcome
    from aiocredentials.doctor.route import Route


async def endpoint_of(
    region: Region,
    route: Route | None,
    outcomes: Sequence[Outcome],
) -> Endpoint:
    """Report whether a region's endpoint answered; ask once more for the step that failed.

    Args:
        region: The region and its source.
        route: The route of its requests; None if no client can be made.
        outcomes: The results of GetSecretValue for the secrets of this region.
    """
    endpoint = Endpoint(
        region=region.name,
        region_source=region.source,
        url=None,
        url_source=None,
        proxy=None,
        reachable=None,
        tls=None,
        failure=None,
        problem=_problem_of(outcomes),
    )
    if route:
        endpoint = replace(
            endpoint,
            url=route.url,
            url_source=route.source,
            proxy=route.proxy,
        )

    if any(map(is_answer, outcomes)):
        url = endpoint.url or ""
        return replace(
            endpoint,
            reachable=True,
            tls=url.startswith("https:"),
        )

    for outcome in outcomes:
        if isinstance(outcome, EndpointUnreachableError):
            return await _unreachable(endpoint, route, outcome)
    return endpoint


async def _unreachable(
    endpoint: Endpoint,
    route: Route | None,
    error: EndpointUnreachableError,
) -> Endpoint:
    step = None
    if route:
        step = await failed_step(route, error)
    return replace(
        endpoint,
        # With a file that can't be loaded, nothing is sent.
        reachable=None if step == "ca bundle" else False,
        tls=False if step == "tls" else None,
        failure=step,
    )


def _problem_of(outcomes: Sequence[Outcome]) -> str | None:
    """Explain the errors that aren't about one secret."""
    errors = [
        outcome
        for outcome in outcomes
        if isinstance(outcome, CredentialsError) and not is_about_the_secret(outcome)
    ]

    sentences = [
        *map(reason_of, errors),
        *map(advice_of, errors),
    ]
    # Each sentence comes once, however many secrets it is about.
    sentences_once = dict.fromkeys(sentences)
    sentences_once.pop("", None)
    return " ".join(sentences_once) or None
