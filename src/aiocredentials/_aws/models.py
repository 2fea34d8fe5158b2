"""botocore's models: one loader for all sessions of the process, which keeps what it has read.

`loading` has it read them, in a thread, before the first session is opened.
"""

# ruff: noqa: ANN401 (a model's file may contain anything)

from __future__ import annotations

import json
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from botocore.loaders import JSONFileLoader, Loader

if TYPE_CHECKING:
    from collections.abc import Callable


class _JSONFileLoader(JSONFileLoader):
    """A reader of model files that lets other threads run while it reads one of 2 MB.

    It is botocore's, except that a Python function makes the dicts. Otherwise json.loads would hold
    the interpreter until the end of the file.
    """

    def _load_file(
        self,
        full_path: str,
        open_method: Callable[[str, str], Any],
    ) -> Any:
        if not os.path.isfile(full_path):  # noqa: PTH113 (botocore's path, joined as it joins them)
            return None
        with open_method(full_path, "rb") as file:
            content = file.read()
        return json.loads(content, object_pairs_hook=_ordered)


def _ordered(pairs: Any) -> Any:
    return OrderedDict(pairs)


class _SharedLoader(Loader):
    """One loader for all sessions: it reads each file once, and its search path doesn't grow."""

    @property
    def search_paths(self) -> list[str]:
        # A copy, because every aioboto3 session appends a folder.
        return list(super().search_paths)


_paths = os.environ.get("AWS_DATA_PATH", "")
loader = _SharedLoader(
    [
        os.path.expanduser(path)  # noqa: PTH111 (as botocore expands these paths)
        for path in _paths.split(os.pathsep)
        if path
    ],
    file_loader=_JSONFileLoader(),
)
