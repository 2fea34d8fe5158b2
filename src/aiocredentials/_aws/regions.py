"""Regions: where a region is configured, what its host is called, and what a wrong name means."""

from __future__ import annotations

import difflib
import functools
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from aiocredentials._arguments import LONGEST_REGION
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import without_password
from aiocredentials._aws.settings import ClientSettings, CustomSession, core_of, is_custom
from aiocredentials.errors import (
    CredentialsError,
    InvalidRegionError,
    make_error,
    one_line,
    shown,
)

if TYPE_CHECKING:
    import aioboto3
    from aiobotocore.session import AioSession


DEFAULT_REGION = "us-east-1"


SERVICE = "secretsmanager"


@dataclass(frozen=True, slots=True)
class Region:
    """A region and where it was configured, so that an error can name both.

    Regions are equal if their names are.
    """

    name: str
    source: str = field(compare=False)

    @property
    def endpoint(self) -> str:
        """The endpoint that Secrets Manager would have there."""
        suffix = ".cn" if self.name.startswith("cn-") else ""
        return f"https://{SERVICE}.{self.name}.amazonaws.com{suffix}"

    def facts(self) -> dict[str, str | None]:
        """Return what an error says of it."""
        return {"region_name": self.name, "region_source": self.source}


def default_region(
    settings: ClientSettings, session: aioboto3.Session | AioSession | CustomSession
) -> Region:
    """Find the region for a secret that doesn't say its own: config, pool, session, environment, profile, us-east-1."""
    if in_config := getattr(settings.config, "region_name", None):
        return Region(in_config, "config=")
    if settings.region_name:
        return Region(settings.region_name, settings.region_source)
    core = core_of(session)
    explicit = (
        session.region_name if is_custom(session) else core.instance_variables().get("region")
    )
    if explicit:
        return Region(explicit, "the session")
    # botocore reads AWS_DEFAULT_REGION alone; Lambda and ECS set AWS_REGION, and other SDKs read it.
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        if os.environ.get(variable):
            return Region(os.environ[variable], variable)
    try:
        in_profile = core.get_scoped_config().get("region")
    except Exception as error:  # noqa: BLE001 (a profile that isn't there, or a file that can't be parsed)
        failure = map_opening_error(error, profile=settings.profile)
    else:
        if in_profile:
            return Region(in_profile, f"profile {core.profile or 'default'!r}")
        return Region(
            DEFAULT_REGION,
            "the default: no argument, environment variable or profile names another",
        )
    raise failure


def wrong_region(region: Region, endpoint_url: str | None = None) -> CredentialsError:
    """Make the error for a region that isn't one: what would have been asked, and which real one is nearest."""
    if len(region.name) > LONGEST_REGION:
        # The name would be in the message twice, and there is none that it resembles.
        what = f"A name of {len(region.name)} characters is no region: it has at most {LONGEST_REGION}."
        return make_error(InvalidRegionError, what, region_source=region.source)
    endpoint = one_line(without_password(endpoint_url or region.endpoint))
    hint = nearest_region(region.name)
    what = f"AWS has no region {shown(region.name)} ({endpoint} would have been asked): did you mean {hint!r}?"
    return make_error(InvalidRegionError, what, **region.facts())


_HOST_LABEL = re.compile(rf"(?!-)[A-Za-z0-9-]{{1,{LONGEST_REGION}}}(?<!-)")


def is_host_label(name: str) -> bool:
    """Whether a region's name can be a part of a host's."""
    return _HOST_LABEL.fullmatch(name) is not None


def may_be_a_region(name: str) -> bool:
    """Whether a name has the shape of a region: of one that botocore lists, or of one that is newer."""
    return any(re.fullmatch(partition["regionRegex"], name) for partition in partitions())


def unlisted(name: str) -> str:
    """Return a hint, where botocore doesn't list a region; empty where it does."""
    if any(name in partition["regions"] for partition in partitions()):
        return ""
    return f"The installed botocore lists no region {shown(name)}: did you mean {nearest_region(name)!r}?"


def nearest_region(name: str) -> str:
    """Find the region that a name most likely means, by its place or by its spelling.

    The name has at most 63 characters: comparing a longer one would hold up the event loop.
    """
    typed = name.strip().lower()
    known = known_regions()
    # A place, such as the one in "Europe (Ireland)". Two letters are none, and nor is anything with a hyphen.
    if re.fullmatch("[a-z ]{3,}", typed):
        for partition in partitions():
            for region, facts in partition["regions"].items():
                if region in known and typed in facts["description"].lower():
                    return str(region)
    return max(known, key=lambda region: difflib.SequenceMatcher(None, typed, region).ratio())


def known_regions() -> list[str]:
    """List the regions that the installed botocore knows, without asking the network."""
    # Those of the isolated partitions (aws-iso and its like) are nobody's typing mistake.
    return sorted(
        name
        for one in partitions()
        if "-iso" not in one["id"]
        for name in one["regions"]
        if not name.endswith("-global")
    )


@functools.cache
def partitions() -> list[dict[str, Any]]:
    from botocore.loaders import create_loader  # noqa: PLC0415 (as above)

    return cast("list[dict[str, Any]]", create_loader().load_data("partitions")["partitions"])
