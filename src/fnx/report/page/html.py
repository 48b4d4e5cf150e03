"""What the pages of runs and of comparisons share: templates, and figures as a part of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fnx.report.figures import style
from fnx.report.text import clip, number, shorten

TEMPLATES = Path(__file__).parent / "templates"

_GENERIC_ID = re.compile(r' id="[A-Za-z0-9_.-]*_\d+"')
_COORDINATES = re.compile(r'\b(?:d|x|y|x1|y1|x2|y2|points|transform)="[^"]*"')
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_COLOURS = re.compile("|".join(style.THEME))
_REFERENCE = re.compile(r'(id="|href="#|url\(#)(?=[a-z])')


def environment(*folders: Path) -> Environment:
    """Return the templates of some folders and of the page; all that they insert is escaped."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "signed": signed,
        "shorten": shorten,
        "clip": clip,
        "address": address,
    }
    return made


def signed(value: float | None) -> str:
    """Write a difference with its sign; none before 0.

    >>> signed(0.25), signed(-0.1), signed(0.0), signed(None)
    ('+0.250', '−0.100', '0.000', '–')
    """
    return number(value, 3, sign=value is not None and value > 0)


def address(parts: Sequence[object]) -> str:
    """Return the address of a layer's view, or of a feature's if there is a unit.

    >>> address(("conv1_1",)), address(("a/b", 7))
    ('#/layer/conv1_1', '#/feature/a%2Fb/7')
    """
    kind = "layer" if len(parts) == 1 else "feature"
    # The characters that JavaScript's encodeURIComponent leaves as they are.
    return "#/" + "/".join([kind, *(quote(str(part), safe="!'()*") for part in parts)])


def inline(svg: str, name: str, label: str) -> Markup:
    """Make a figure's SVG fit for a page: themed colours, ids of its own, fewer decimals.

    Matplotlib has escaped all text in it; `label` says what it shows to those who cannot see it.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _GENERIC_ID.sub("", text)
    text = _REFERENCE.sub(rf"\g<1>{name}-", text)
    text = _COORDINATES.sub(lambda found: _DECIMALS.sub(_two_decimals, found[0]), text)
    text = _COLOURS.sub(lambda found: f"var(--{style.THEME[found[0]]})", text)
    for side in ("height", "width"):
        text = re.sub(rf'(<svg [^>]*?) {side}="[^"]*"', r"\1", text, count=1)
    opening = Markup('<svg role="img" aria-label="{}" ').format(label)
    return Markup(text.replace("<svg ", opening, 1))  # noqa: S704


def _two_decimals(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
