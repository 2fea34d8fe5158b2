"""The token that the local agent needs in each request, and where it is found."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from pathlib import Path
from typing import NoReturn
from weakref import WeakSet

from aiocredentials._loops import PerLoop, bookkeeping, forgetting
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    CredentialSourceError,
    make_error,
    shown,
)

# The agent reads these in the same order, and so does Lambda's extension with the second.
VARIABLES = ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
DEFAULT_FILE = "/var/run/awssmatoken"
"""The agent's service writes a new token into this file whenever it starts."""

_FILE = "file://"
_LONGEST = 16_384
"""In characters. The longest tokens are session tokens of AWS, of about 2,000."""
_SENDABLE = re.compile(rf"[!-~]([ -~]{{0,{_LONGEST}}}[!-~])?")
_UNSENDABLE = "is empty, too long, or has a line end or another character that no header can hold"


class Token:
    """The token of one agent. It is found at the first request, and again when it is refused.

    Args:
        given: The token itself, `file://` and a path, or a path. None: read it from the
            environment.

    Raises:
        TypeError: It is neither a string nor a path.
        ValueError: The token is empty, or no header can hold it.
    """

    # Without a dict, code that prints all attributes doesn't find the token.
    __slots__ = ("__weakref__", "_found", "_given", "_searching", "origin")

    def __init__(self, given: str | Path | None) -> None:
        self._given = _checked_argument(given)
        self._found: str | None = None
        # One caller of each loop reads the file; the others wait for it.
        self._searching = PerLoop(asyncio.Lock)
        self.origin = "the token argument"
        """Where the token was found, in words for a message."""
        with bookkeeping:
            _living.add(self)

    def forget(self) -> None:
        """Drop the token that was found, so no snapshot of the process has it.

        A token that was passed as text stays: it belongs to the caller's configuration, and can't
        be found again.
        """
        self._found = None

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError(
            "A LocalAgent can't be pickled, because its token must not be written anywhere: "
            "make one in each process."
        )

    def __getstate__(self) -> NoReturn:
        """Refuse, because the state is the token."""
        raise TypeError("The state of a Token is the token.")

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"<Token from {self.origin}>"

    async def get(self) -> str | CredentialsError:
        """Return the token, or the error that explains why there is none."""
        found = self._found
        if found is not None:
            return found
        async with self._searching.get():
            # Another caller may have found it meanwhile.
            return self._found or await self._search()

    async def another_than(self, refused: str) -> str | CredentialsError | None:
        """Search again after the agent has refused a token.

        Returns:
            Another token; None if there is only the one that was refused; or the error that
            explains why the search failed, such as a file that is missing while the agent starts.
        """
        async with self._searching.get():
            found = self._found
            if found in {None, refused}:
                search = await self._search()
                if isinstance(search, CredentialsError):
                    return search
                found = search
        return None if found == refused else found

    async def _search(self) -> str | CredentialsError:
        text = self._configured()
        if not text.startswith(_FILE):
            return self._checked(text)
        path = text.removeprefix(_FILE)
        self.origin = f"{self.origin}, the file {shown(path)}"
        try:
            # A network file system may block.
            text = await asyncio.to_thread(_read, path)
        except FileNotFoundError:
            return self._missing(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            what = f"The token of the local agent can't be read from {shown(path)}: {reason}."
            return _refused(what, _ADVICE_ON_READING)
        if not text:
            what = f"The token of the local agent can't be read: {shown(path)} is empty."
            return make_error(CredentialSourceError, what, advice=_ADVICE_ON_MISSING)
        return self._checked(text)

    def _configured(self) -> str:
        """Return the token or the reference to its file, and note where it comes from."""
        if self._given is not None:
            self.origin = "the token argument"
            return self._given
        for variable in VARIABLES:
            text = os.environ.get(variable)
            if text:
                self.origin = variable
                return text
        self.origin = "the default"
        return f"{_FILE}{DEFAULT_FILE}"

    def _checked(self, text: str) -> str | CredentialsError:
        if _SENDABLE.fullmatch(text) is None:
            what = f"The token of the local agent can't be sent: {self.origin} {_UNSENDABLE}."
            return _refused(what, "Copy it exactly as the agent has it.")
        self._found = text
        return text

    def _missing(self, path: str) -> CredentialsError:
        what = f"The token of the local agent can't be read: there is no file {shown(path)}"
        if self.origin.startswith("the default"):
            what += f", and none of {', '.join(VARIABLES)} is set"
        return make_error(CredentialSourceError, f"{what}.", advice=_ADVICE_ON_MISSING)


_living: WeakSet[Token] = WeakSet()


def _forget_all() -> None:
    with bookkeeping:
        tokens = list(_living)
    for token in tokens:
        token.forget()


forgetting.append(_forget_all)

_ADVICE_ON_READING = (
    "Let the user of this process read it: the agent's installer makes the group "
    "awssmatokenreader for that. A process has a new group only after a new start."
)
_ADVICE_ON_MISSING = (
    "Is the agent installed and started? Its service writes the file. In a container, set "
    "AWS_TOKEN for both, or pass token=."
)


def _refused(what: str, advice: str) -> CredentialsError:
    error = make_error(AuthenticationError, what, advice=advice)
    error.asked = False
    return error


def _checked_argument(given: object) -> str | None:
    if given is None:
        return None
    if isinstance(given, Path):
        return f"{_FILE}{given}"
    if not isinstance(given, str):
        kind = type(given).__name__
        raise TypeError(f"token is a {kind}: give the token, 'file:///path' or a Path.")
    if not given.startswith(_FILE) and _SENDABLE.fullmatch(given) is None:
        raise ValueError(f"token {_UNSENDABLE}: give it as the agent has it.")
    return given


def _read(path: str) -> str:
    """Return the text of a file, at most as much as the longest token has."""
    # Reading from a pipe may never end, and then neither would the process.
    if Path(path).exists() and not Path(path).is_file():
        raise OSError(errno.EINVAL, "it isn't a regular file")
    with Path(path).open(encoding="ascii") as file:
        return file.read(_LONGEST + 1).strip()
