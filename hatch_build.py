"""Make the README's links work on the package index.

GitHub resolves a link such as `docs/tutorial.md`, and the package index doesn't. So the metadata of
the package has the README with full addresses: those of the files at the tag of the version.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# The target of a link or picture in Markdown, or of a picture in HTML, if it is a file.
TARGET = re.compile(r'(\]\(|\b(?:src|srcset)=")(?![a-z]+:|#)([^)"]+)')


class LinkedReadme(MetadataHookInterface):
    """Read the README for the metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README, with full addresses."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = with_addresses(readme, metadata["urls"]["Source"], metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_addresses(text: str, source: str, version: str) -> str:
    """Return a page with the address of each file in the place of its path."""

    def address(match: re.Match[str]) -> str:
        before, path = match.groups()
        # GitHub shows a page around a file at `blob`. A picture must be the file itself.
        kind = "raw" if path.endswith(".svg") else "blob"
        return f"{before}{source}/{kind}/v{version}/{path}"

    return TARGET.sub(address, text)
