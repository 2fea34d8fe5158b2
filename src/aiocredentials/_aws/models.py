"""botocore's models: one loader for all sessions of the process, which keeps what it has read.

`loading` lets it read them in a thread, before the first session is opened. A caller's own session
has its own loader.
"""

# ruff: noqa: ANN401 (a model's file may contain anything)

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import DataNotFoundError
from botocore.loaders import JSONFileLoader, Loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPERATIONS = (
    "GetSecretValue",
    "BatchGetSecretValue",
    "DescribeSecret",
)
"""The operations of Secrets Manager that `gateway` calls. Our clients have no others."""

ENDPOINTS = (
    "secretsmanager",
    "sts",
    "sso",
    "portal.sso",
    "oidc",
    "signin",
)
"""The services that our sessions call, as botocore's endpoints name them: the last five belong to
the credential chain."""


class _JSONFileLoader(JSONFileLoader):
    """A reader of model files that lets other threads run while it reads one of 2 MB.

    It is botocore's, except that a model is made of plain dicts, which keep their order, too, and
    cost a fifth of an `OrderedDict`; and that it keeps only what our sessions need.
    """

    def load_file(self, file_path: str) -> Any:
        """Load a file by its path without the extension. Return None if there is none."""
        content = super().load_file(file_path)
        # A model of a service is in the folder of its version, in the folder of the service.
        parts = Path(file_path).parts
        if content and parts[-1] == "endpoints":
            _reduce_endpoints(content)
        elif content and parts[-1] == "service-2" and parts[-3] == "secretsmanager":
            _reduce_operations(content)
        return content

    def _load_file(
        self,
        full_path: str,
        open_method: Callable[[str, str], Any],
    ) -> Any:
        if not os.path.isfile(full_path):  # noqa: PTH113 (botocore's path, joined as it joins them)
            return None
        with open_method(full_path, "rb") as file:
            content = file.read()
        return json.loads(content, object_hook=_unchanged)


def _reduce_endpoints(content: Any) -> None:
    """Drop the endpoints of other services: the collector would look through these 16,000 dicts."""
    for partition in content.get("partitions", ()):
        _keep(partition, "services", ENDPOINTS)


def _reduce_operations(content: Any) -> None:
    """Drop the other operations, because botocore makes a method of each, for each client."""
    _keep(content, "operations", OPERATIONS)


def _keep(
    holder: Any,
    key: str,
    needed: tuple[str, ...],
) -> None:
    # A user's own file may have another form. It is for botocore to accept or to refuse.
    if key in holder:
        entries = holder[key]
        holder[key] = {name: entries[name] for name in needed if name in entries}


def _unchanged(made: Any) -> Any:
    """Return a dict of a model.

    Without a Python function to call for each dict, json.loads would hold the interpreter until the
    end of the file.
    """
    return made


class _KnownServices:
    """The services that have models of a type: one is looked for without listing all 400.

    It stands in for the list that botocore makes to know whether a service exists, and to name all
    of them if it doesn't.
    """

    def __init__(
        self,
        models: Loader,
        type_name: str,
        names: Callable[[str], list[str]],
    ) -> None:
        self._models = models
        self._type_name = type_name
        self._names = names

    def __contains__(self, service_name: str) -> bool:
        try:
            self._models.list_api_versions(service_name, self._type_name)
        except DataNotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._names(self._type_name))


class _SharedLoader(Loader):
    """One loader for all sessions: it reads each file once, and its search path doesn't grow."""

    @property
    def search_paths(self) -> list[str]:
        # A copy, because every aioboto3 session appends a folder.
        return list(super().search_paths)

    def list_available_services(self, type_name: str) -> Any:
        """Return the services that have models of this type, without reading their folders."""
        return _KnownServices(self, type_name, super().list_available_services)


_paths = os.environ.get("AWS_DATA_PATH", "")
loader = _SharedLoader(
    [
        os.path.expanduser(path)  # noqa: PTH111 (as botocore expands these paths)
        for path in _paths.split(os.pathsep)
        if path
    ],
    file_loader=_JSONFileLoader(),
)
