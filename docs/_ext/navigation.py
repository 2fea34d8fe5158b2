"""The order of the pages in the sidebar.

The lists stand here and not in `index.md`, because GitHub would show them there as code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.logging import getLogger

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = getLogger(__name__)

# The pages by their kind, which is the caption in the sidebar.
KINDS = {
    "Tutorial": ["tutorial"],
    "How-to: operate": [
        "how-to/on-call",
        "how-to/doctor",
        "how-to/telemetry",
    ],
    "How-to: your service": [
        "how-to/fastapi",
        "how-to/frameworks",
        "how-to/lambda",
        "how-to/sync-code",
        "how-to/settings",
        "how-to/testing",
        "how-to/migrating",
    ],
    "How-to: databases": [
        "how-to/databases",
        "how-to/engines",
        "how-to/mysql",
        "how-to/aurora-and-proxies",
        "how-to/redis",
        "how-to/iam",
        "how-to/secret-formats",
        "how-to/decode",
    ],
    "How-to: AWS": [
        "how-to/aws-credentials",
        "how-to/roles",
        "how-to/regions",
        "how-to/rotation-push",
        "how-to/local-agent",
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

# Two pages begin with the name of the library. In lists, the file's name tells them apart.
TITLES = {"project/readme": "README"}

# These groups are open in the sidebar, with the group of the page that is read. So the captions of
# all groups fit a screen.
OPEN = {"Tutorial", "How-to: operate", "Reference", "Why"}

# A group of the sidebar, as Sphinx writes it.
GROUP = re.compile(
    r'<p class="caption"[^>]*><span class="caption-text">(?P<kind>.*?)</span></p>\s*'
    r"(?P<pages><ul\b.*?</ul>)\s*(?=<p class=\"caption\"|$)",
    re.DOTALL,
)


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
    names = [f"{TITLES[page]} <{page}>" if page in TITLES else page for page in pages]
    lines = "\n".join(names)
    return f"```{{toctree}}\n{options}{lines}\n```\n"


def rename(app: Sphinx, env: BuildEnvironment) -> None:  # noqa: ARG001 (Sphinx's signature)
    """Give pages the titles that lists show: the sidebar, the search, links to the next page."""
    for page, title in TITLES.items():
        env.titles[page] = nodes.title("", title)
        env.longtitles[page] = env.titles[page]


def fold_groups(
    app: Sphinx,  # noqa: ARG001
    page: str,  # noqa: ARG001
    template: str,  # noqa: ARG001
    context: dict[str, Any],
    tree: object,  # noqa: ARG001
) -> None:
    """Let a reader open and close the groups of the sidebar."""
    context["furo_navigation_tree"] = GROUP.sub(folded, context["furo_navigation_tree"])


def folded(group: re.Match[str]) -> str:
    """Return a group of the sidebar that can be closed."""
    kind = group["kind"]
    is_open = kind in OPEN or 'class="current' in group["pages"]
    state = " open" if is_open else ""
    return (
        f'<details{state}><summary class="caption"><span class="caption-text">{kind}</span>'
        f"</summary>\n{group['pages']}\n</details>\n"
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    # After all other changes of the source: the lists aren't Markdown of the page.
    app.connect("source-read", add_navigation, priority=900)
    app.connect("env-check-consistency", check_pages)
    app.connect("env-updated", rename)
    # After furo has put the lists together.
    app.connect("html-page-context", fold_groups, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
