"""botocore's models: one loader for all sessions of the process."""

# The stubs of aiobotocore and aiohttp don't have the private hooks that this module is about.
# mypy: disable-error-code="attr-defined, has-type, misc, no-any-return, override, union-attr"
# pyright: basic, reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
# ruff: noqa: ANN401

from __future__ import annotations

import json
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from botocore.loaders import JSONFileLoader, Loader

if TYPE_CHECKING:
    from collections.abc import Callable


class _JSONFileLoader(JSONFileLoader):
    """botocore's, but a Python function makes the dicts: so json.loads lets other threads run while it reads 2 MB."""

    def _load_file(self, full_path: str, open_method: Callable[[str, str], Any]) -> Any:
        if not os.path.isfile(full_path):  # noqa: PTH113 (botocore's own path, joined as it joins them)
            return None
        with open_method(full_path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=lambda pairs: OrderedDict(pairs))  # noqa: PLW0108


class _SharedLoader(Loader):
    """One loader for all sessions of the process: what it has read stays read, and its search path doesn't grow."""

    @property
    def search_paths(self) -> list[str]:
        return list(super().search_paths)  # every aioboto3 session appends a folder


_own_folders = [
    os.path.expanduser(path)  # noqa: PTH111 (as botocore does it)
    for path in os.environ.get("AWS_DATA_PATH", "").split(os.pathsep)
    if path
]
loader = _SharedLoader(
    _own_folders,
    file_loader=_JSONFileLoader(),
)
