"""Plain view data -> one HTML page, by a template that lies beside this file. Everything is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, page: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
        template: file name below `templates`.
        page: what the template shows; a name that is missing there is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(page=page)
