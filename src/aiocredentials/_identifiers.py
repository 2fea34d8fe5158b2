"""Identifiers of secrets: names, full ARNs and partial ARNs, and which of them mean one secret."""

from __future__ import annotations

import re

_ARN = re.compile(r"arn:[^:]+:secretsmanager:(?P<region>[^:]*):[^:]*:secret:.+", re.DOTALL)
# AWS adds a hyphen and six random characters to the name (API reference, CreateSecret).
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")
_SUFFIX_LENGTH = len("-Abc123")


def identifiers(name: str, arn: str) -> tuple[str, ...]:
    """Return all identifiers of a secret that AWS confirms by its name and its ARN, the name first.

    A partial ARN leaves out the suffix. An ARN that doesn't end in the name and a suffix, such as
    those of some emulators, has no partial ARN. A secret whose name itself ends like a suffix has
    none either, because its partial ARN may be the full ARN of another secret. AWS advises against
    such names for this reason (API reference, GetSecretValue, SecretId).
    """
    stem = arn[:-_SUFFIX_LENGTH]
    has_suffix = stem.endswith(f":{name}") and _ends_like_a_suffix(arn)
    if has_suffix and not _ends_like_a_suffix(name):
        return (name, arn, stem)
    if name == arn:
        return (name,)
    return (name, arn)


def _ends_like_a_suffix(text: str) -> bool:
    return _SUFFIX.fullmatch(text[-_SUFFIX_LENGTH:]) is not None


def same_secret(asked: str, name: str, arn: str) -> bool:
    """Return whether an identifier means the secret with this name and ARN."""
    return asked in identifiers(name, arn)


def may_be_the_same(one: str, other: str) -> bool:
    """Return whether two identifiers may mean one secret, as far as that shows without AWS."""
    return not _possible_names(one).isdisjoint(_possible_names(other))


def _possible_names(identifier: str) -> set[str]:
    """Return the names that the secret with this identifier may have."""
    if region_in(identifier) is None:
        return {identifier}
    name = identifier.split(":", 6)[6]
    names = {name}
    if _ends_like_a_suffix(name):
        names.add(name[:-_SUFFIX_LENGTH])
    return names


def region_in(identifier: str) -> str | None:
    """Return the region that an ARN names; None for a name."""
    match = _ARN.fullmatch(identifier)
    if match is None:
        return None
    return match["region"]


def in_region(identifier: str, region: str) -> str:
    """Return an ARN as it is in another region, where the secret has a replica, or is one.

    The ARN of a replica differs from its primary's in the region alone (user guide, "Replicate
    secrets to multiple Regions"). A name stays as it is.
    """
    if region_in(identifier) is None:
        return identifier
    parts = identifier.split(":", 4)
    parts[3] = region
    return ":".join(parts)
