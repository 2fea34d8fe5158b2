"""Regions: where a region is configured, its endpoint, and which region a wrong name means.

`default_region` finds the region for secrets that don't name their own. The manager's `region_name`
argument and the region in an ARN have priority over it.
"""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING, cast

from aiocredentials._arguments import LONGEST_REGION
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import without_password
from aiocredentials._aws.settings import ClientSettings, core_of, is_custom
from aiocredentials._loops import loading
from aiocredentials.errors import (
    CredentialsError,
    InvalidRegionError,
    make_error,
    one_line,
    shown,
)

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from aiobotocore.session import AioSession

    from aiocredentials._aws.settings import AnySession

    Partition: TypeAlias = dict[str, Any]

DEFAULT_REGION = "us-east-1"

SERVICE = "secretsmanager"
"""botocore's name of Secrets Manager, and the first label of its host names."""

# botocore reads the first one alone. Lambda and ECS set the second, and other SDKs read it.
_REGION_VARIABLES = ("AWS_DEFAULT_REGION", "AWS_REGION")
_HOST_LABEL = re.compile(rf"(?!-)[A-Za-z0-9-]{{1,{LONGEST_REGION}}}(?<!-)")


class Region:
    """A region and where it was configured, because errors name both.

    Regions are equal if their names are. It is no dataclass, because keys of the cache are compared
    and hashed often, and a dataclass makes tuples for that.
    """

    __slots__ = ("name", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source

    def __eq__(self, other: object) -> bool:
        """Compare the names alone."""
        return isinstance(other, Region) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Region({self.name!r}, {self.source!r})"

    @property
    def endpoint(self) -> str:
        """The endpoint that Secrets Manager would have there."""
        endpoint = f"https://{SERVICE}.{self.name}.amazonaws.com"
        if self.name.startswith("cn-"):
            endpoint += ".cn"
        return endpoint

    def facts(self) -> dict[str, str | None]:
        """Return the region and its source, as the arguments of an error."""
        return {
            "region_name": self.name,
            "region_source": self.source,
        }


# Where a region is configured


def default_region(
    settings: ClientSettings,
    session: AnySession,
) -> Region:
    """Find the region for secrets that don't name their own.

    The order is: the config, the pool or manager, the session, the environment, the profile, and
    us-east-1. Raises a `CredentialsError` if the profile can't be read.
    """
    in_config = getattr(settings.config, "region_name", None)
    if in_config:
        return Region(in_config, "config=")
    if settings.region_name:
        return Region(settings.region_name, settings.region_source)

    in_session = _region_of_the_session(session)
    if in_session:
        return Region(in_session, "the session")

    for variable in _REGION_VARIABLES:
        in_environment = os.environ.get(variable)
        if in_environment:
            return Region(in_environment, variable)

    return _region_of_the_profile(settings, core_of(session))


def _region_of_the_session(session: AnySession) -> str | None:
    if is_custom(session):
        return session.region_name
    variables = core_of(session).instance_variables()
    region: str | None = variables.get("region")
    return region


def _region_of_the_profile(
    settings: ClientSettings,
    core: AioSession,
) -> Region:
    try:
        in_profile = core.get_scoped_config().get("region")
    except Exception as error:  # noqa: BLE001 (the profile is missing, or a file can't be parsed)
        failure = map_opening_error(error, profile=settings.profile)
    else:
        if in_profile:
            profile = core.profile or "default"
            return Region(in_profile, f"profile {profile!r}")
        source = "the default: no argument, environment variable or profile names another"
        return Region(DEFAULT_REGION, source)
    raise failure


# Names that aren't regions


def is_host_label(name: str) -> bool:
    """Return whether the name of a region can be a part of a host name."""
    return _HOST_LABEL.fullmatch(name) is not None


def may_be_a_region(name: str) -> bool:
    """Return whether a name has the shape of a region, which may be newer than botocore's list."""
    shapes = [partition["regionRegex"] for partition in partitions()]
    return any(re.fullmatch(shape, name) for shape in shapes)


def wrong_region_error(
    region: Region,
    endpoint_url: str | None = None,
) -> CredentialsError:
    """Make the error for a name that isn't a region.

    It names the endpoint that would have been asked, and the region that was most likely meant.
    """
    name = region.name
    length = len(name)
    if length > LONGEST_REGION:
        # The message leaves the name out: it is too long, and resembles no region.
        limit = f"no region has more than {LONGEST_REGION}"
        what = f"The name of the region has {length} characters, and {limit}."
        return make_error(
            InvalidRegionError,
            what,
            region_source=region.source,
        )

    safe_url = without_password(endpoint_url or region.endpoint)
    endpoint = one_line(safe_url)
    what = (
        f"AWS has no region {shown(name)} ({endpoint} would have been asked): "
        f"did you mean {nearest_region(name)!r}?"
    )
    return make_error(
        InvalidRegionError,
        what,
        **region.facts(),
    )


def hint_if_unlisted(name: str) -> str:
    """Return a hint if botocore doesn't list a region; otherwise an empty string."""
    for partition in partitions():
        if name in partition["regions"]:
            return ""
    nearest = nearest_region(name)
    return f"The installed botocore lists no region {shown(name)}: did you mean {nearest!r}?"


def nearest_region(name: str) -> str:
    """Find the region that a name most likely means, by its place or by its spelling.

    The name has at most 63 characters: to compare a longer one would block the event loop.
    """
    typed = name.strip().lower()
    known = known_regions()
    # Two letters name no place, and nor does anything with a hyphen.
    if re.fullmatch("[a-z ]{3,}", typed):
        there = _region_at(typed, known)
        if there is not None:
            return there

    # Only a wrong name needs it. A fork waits for the lock, because a child that is forked in the
    # middle of an import can't end it.
    with loading:
        import difflib  # noqa: PLC0415

    def similarity(region: str) -> float:
        matcher = difflib.SequenceMatcher(None, typed, region)
        return matcher.ratio()

    return max(known, key=similarity)


def _region_at(place: str, known: list[str]) -> str | None:
    """Find the region at a place, such as the one in "Europe (Ireland)"."""
    for partition in partitions():
        for region, facts in partition["regions"].items():
            description = facts["description"].lower()
            if region in known and place in description:
                return str(region)
    return None


def known_regions() -> list[str]:
    """List the regions that the installed botocore knows, without a call."""
    names: list[str] = []
    for partition in partitions():
        # A typing mistake hardly ever means an isolated partition, such as aws-iso.
        if "-iso" not in partition["id"]:
            names.extend(partition["regions"])
    regions = [name for name in names if not name.endswith("-global")]
    return sorted(regions)


@functools.cache
def partitions() -> list[Partition]:
    """Return botocore's list of partitions, each with its regions."""
    # An import at the top would slow down the import of this package.
    from botocore.loaders import create_loader  # noqa: PLC0415

    content = create_loader().load_data("partitions")
    return cast("list[Partition]", content["partitions"])
