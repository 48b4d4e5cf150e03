"""Tell mkdocstrings that what follows the first ``>>>`` of a docstring is its examples."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Give the examples that end a docstring a heading, as Google's style wants it."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Put the heading in."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^>>> .*\Z",
                lambda found: "Examples:\n" + textwrap.indent(found[0], "    "),
                obj.docstring.value,
                count=1,
                flags=re.M | re.S,
            )
