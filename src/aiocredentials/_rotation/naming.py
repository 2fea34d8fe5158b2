"""How logs and errors name the credentials that a server refused or accepted.

A manager whose passwords aren't in a secret has the attributes `naming`, a `Naming`, and
`advice_if_refused`, the advice for the case that the server refuses its passwords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocredentials._rotation.words import text_for_log

if TYPE_CHECKING:
    from aiocredentials._secret import Secret


class Naming(NamedTuple):
    """The words for a secret's name and for its versions."""

    subject: str
    """Stands before the name."""
    one: str
    """Stands before the identifier of a version."""
    each: str
    """Means the versions that were tried."""


OF_SECRETS = Naming("Secret ", "version", "each version")


def naming_of(manager: object) -> Naming:
    """Return the words for a manager's credentials."""
    naming: Naming | None = getattr(manager, "naming", None)
    return naming or OF_SECRETS


def own_advice(manager: object) -> str:
    """Return a manager's own advice for a refusal; empty for those of secrets."""
    return getattr(manager, "advice_if_refused", None) or ""


def subject_of(manager: object, secret: Secret) -> str:
    """Return what the credentials are for: a secret's name in quotes, or another title."""
    naming = naming_of(manager)
    if naming.subject:
        return f"{naming.subject}{secret.name!r}"
    return text_for_log(secret.name)


def version_of(manager: object, secret: Secret) -> str:
    """Return a version's identifier and its staging labels, for the log."""
    labels = text_for_log("/".join(secret.version_stages))
    version = f"{naming_of(manager).one} {secret.version_id!r}"
    if not labels:
        return version
    return f"{version} ({labels})"


def with_advice(words: str, advice: str) -> str:
    """Return a server's words, and what to do."""
    if not advice:
        return words
    return f"{words.rstrip('.')}. {advice}"
