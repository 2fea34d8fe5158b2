"""Sphinx's settings for the documentation site: `nox -s docs` builds it.

The pages are Markdown that GitHub shows as well. The modules in `_ext` adapt what the two show
differently, and convert our docstrings.
"""

from __future__ import annotations

import os
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from urllib.parse import urlsplit

# It prints that matplotlib isn't installed, which it would need only for what we don't use.
with redirect_stdout(None):
    import sphinxext.opengraph  # noqa: F401 (see above)

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

REPOSITORY = PROJECT["urls"]["Source"]

# The address that the site is published at, with a slash at its end. Link previews need it, and
# the 404 page: a server shows that page for addresses of any depth.
SITE_URL = os.environ.get("SITE_URL", "")

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
project_copyright = author
release = PROJECT["version"]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
    "notfound.extension",
    # These are ours, in `_ext`.
    "navigation",
    "repository_pages",
    "docstrings",
    "line_breaks",
    "llms_txt",
    "tables",
]
exclude_patterns = ["_*"]
# Links to files that aren't pages of the site lead there.
repository = REPOSITORY
# What llms.txt says of the whole.
summary = PROJECT["description"]

# Markdown.
myst_enable_extensions = ["attrs_inline", "colon_fence"]
# Headings have the anchors that GitHub makes, because the pages are read there too.
myst_heading_anchors = 4

# The API, from the docstrings.
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
# A default is shown as it is written in the source: `DEFAULT_POLICY`, not its repr.
autodoc_preserve_defaults = True
# Without the names of modules, a type is as short as in the source.
autodoc_typehints_format = "short"
# The types of attributes would stand below their descriptions.
napoleon_attr_annotations = False
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
# The title of each page of the API names the module.
add_module_names = False

# Each reference to a name of ours leads somewhere, or the build fails. The names of other packages
# lead nowhere: to find their pages, the build would need the network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!aiocredentials\b).*"),
    # A type variable has no page.
    ("py:class", r"aiocredentials\..*\.[A-Z]"),
]

# The look. The accent colour is for links in the text, so the long list of pages does without it.
NEUTRAL_SIDEBAR = {
    "color-sidebar-link-text": "var(--color-foreground-secondary)",
    "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
    "color-sidebar-item-background--current": "var(--color-background-hover)",
    "color-api-name": "var(--color-brand-content)",
    "color-api-pre-name": "var(--color-foreground-muted)",
}
html_theme = "furo"
html_title = project
html_baseurl = SITE_URL
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_search_scorer = str(HERE / "_ext" / "search_scores.js")
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0f766e",
        "color-brand-content": "#0f766e",
        "color-brand-visited": "#0f766e",
        **NEUTRAL_SIDEBAR,
    },
    "dark_css_variables": {
        "color-brand-primary": "#5eead4",
        "color-brand-content": "#5eead4",
        "color-brand-visited": "#5eead4",
        **NEUTRAL_SIDEBAR,
    },
    "light_logo": "logo-light.svg",
    "dark_logo": "logo-dark.svg",
    # Furo would find it out by itself for a few known hosts only.
    "source_view_link": f"{REPOSITORY}/blob/main/docs/{{filename}}",
    "top_of_page_buttons": ["view"],
    "footer_icons": [
        {"name": "Source code", "url": REPOSITORY, "html": "Source code", "class": ""},
    ],
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-dark"

# A copy button copies what a reader types: without prompts and what was printed.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# Link previews.
ogp_site_name = project
ogp_site_url = SITE_URL
# It would draw an image for each page, and would need matplotlib.
ogp_social_cards = {"enable": False}

# The 404 page.
FIRST_PAGE = urlsplit(SITE_URL).path or "/"
notfound_urls_prefix = FIRST_PAGE
notfound_template = "page.html"
notfound_context = {
    "title": "Page not found",
    "body": (
        "<h1>Page not found</h1>"
        "<p>There is no page at this address.</p>"
        f'<p>Search for it, or begin at <a href="{FIRST_PAGE}">the first page</a>.</p>'
    ),
}
