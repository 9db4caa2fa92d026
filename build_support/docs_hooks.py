# SPDX-License-Identifier: Apache-2.0
"""Hook of MkDocs: search in pages that are opened from a file system, without a request to another server."""

from __future__ import annotations

from typing import Any

from mkdocs.utils import get_relative_url

SHIM = "https://unpkg.com/iframe-worker/shim"
WORKER = "assets/docs_worker.js"


def on_post_page(output: str, page: Any, **_: object) -> str:
    """Take the script that stands in for Web Workers from the site itself."""
    return output.replace(SHIM, get_relative_url(WORKER, page.url))


def on_post_template(output_content: str, template_name: str, **_: object) -> str:
    """Do the same for pages that have no source, such as the one for addresses that do not exist."""
    return output_content.replace(SHIM, WORKER) if template_name.endswith(".html") else output_content
