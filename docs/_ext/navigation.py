"""The order of the pages in the sidebar.

The lists stand here and not in `index.md`, because GitHub would show them there as code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sphinx.util.logging import getLogger

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = getLogger(__name__)

# The pages by their kind, which is the caption in the sidebar.
KINDS = {
    "Tutorial": ["tutorial"],
    "How-to": [
        "how-to/on-call",
        "how-to/fastapi",
        "how-to/frameworks",
        "how-to/lambda",
        "how-to/sync-code",
        "how-to/databases",
        "how-to/engines",
        "how-to/mysql",
        "how-to/aurora-and-proxies",
        "how-to/redis",
        "how-to/iam",
        "how-to/rotation-push",
        "how-to/secret-formats",
        "how-to/decode",
        "how-to/settings",
        "how-to/telemetry",
        "how-to/testing",
        "how-to/aws-credentials",
        "how-to/roles",
        "how-to/regions",
        "how-to/local-agent",
        "how-to/doctor",
        "how-to/migrating",
    ],
    "Reference": [
        "reference/manager-and-pool",
        "reference/cache",
        "reference/errors",
        "reference/regions",
        "reference/logging",
        "reference/iam-policies",
        "reference/concurrency",
        "reference/costs",
        "reference/api/index",
        "fleet",
        "reference/rotations",
        "reference/benchmarks",
    ],
    "Why": [
        "why/promises",
        "why/transport",
        "why/limits",
        "why/alternatives",
    ],
    "Project": [
        "project/readme",
        "project/changelog",
        "project/security",
        "project/contributing",
        "project/releasing",
    ],
}


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the lists of pages to the source of the first page."""
    if page == app.config.root_doc:
        lists = [toctree(kind, pages) for kind, pages in KINDS.items()]
        source[0] += "\n" + "\n".join(lists)


def check_pages(app: Sphinx, env: BuildEnvironment) -> None:  # noqa: ARG001 (Sphinx's signature)
    """Warn of each page that isn't in the lists above. The API has lists in its own pages."""
    listed = {page for pages in KINDS.values() for page in pages}
    for page in sorted(env.found_docs - listed - {env.config.root_doc}):
        if not page.startswith("reference/api/"):
            logger.warning("add this page to KINDS in docs/_ext/navigation.py", location=page)


def toctree(kind: str, pages: list[str]) -> str:
    """Return the directive that puts pages below a caption in the sidebar."""
    options = f":hidden:\n:caption: {kind}\n\n"
    names = "\n".join(pages)
    return f"```{{toctree}}\n{options}{names}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    # After all other changes of the source: the lists aren't Markdown of the page.
    app.connect("source-read", add_navigation, priority=900)
    app.connect("env-check-consistency", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
