"""The documentation's site: `make docs` builds it, with each warning as an error."""

from importlib.metadata import version as _version

project = "pytest-nonblocking"
author = "the pytest-nonblocking developers"
project_copyright = "the pytest-nonblocking developers"
version = release = _version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["snippets"]
html_theme = "furo"
html_title = project
html_extra_path = ["llms.txt"]  # for coding agents, at the root of the site
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # links to headings work here as they do on the repository's own pages

autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = True
# Types of the standard library, of results and of keywords, which have no page of their own.
_OURS = r"pytest_nonblocking\.(model|options)"
nitpick_ignore_regex = [
    ("py:class", rf"(collections\.abc|contextlib|{_OURS})\..*|Before|.*\._Hook"),
]
