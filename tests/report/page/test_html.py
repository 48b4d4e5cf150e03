"""Figures as a part of a page: its colours, ids of their own, fewer decimals."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from fnx.report.page.html import environment, inline

DRAWING = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x">
<svg xmlns="http://www.w3.org/2000/svg" width="200pt" height="100pt" viewBox="0 0 72.123456 36">
<metadata><a>made</a>
</metadata>
<g id="line_12"><path id="m1f" d="M 1.23456 -0.1 L 7 8.5" style="stroke: #0072b2; width: 1.23456"/>
<use xlink:href="#m1f" x="3.14159" y="2.000" height="1.5"/>
<rect clip-path="url(#p9)" fill="#ffffff"/>
<text>1.23456 &lt;b&gt;</text></g></svg>"""


def test_a_drawing_takes_the_pages_colours_and_names() -> None:
    assert inline(DRAWING, "fig", 'Bars & "more"') == (
        '<svg role="img" aria-label="Bars &amp; &#34;more&#34;"'
        ' xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72.123456 36">\n\n'
        '<g><path id="fig-m1f" d="M 1.23 -0.1 L 7 8.5"'
        ' style="stroke: var(--presence); width: 1.23456"/>\n'
        '<use xlink:href="#fig-m1f" x="3.14" y="2" height="1.5"/>\n'
        '<rect clip-path="url(#fig-p9)" fill="var(--paper)"/>\n'
        "<text>1.23456 &lt;b&gt;</text></g></svg>"
    )


def test_templates_escape_and_know_all_their_values(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("{{ x }} {{ 1234.5|number(1) }} {{ -0.5|signed }}\n")
    template = environment(tmp_path).get_template("a.j2")
    assert template.render(x="<b>") == "&lt;b&gt; 1,234.5 −0.500"
    with pytest.raises(UndefinedError):
        template.render()


def test_lines_of_a_template_that_hold_tags_alone_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("{% if x %}\n  {% if x %}\nA\n  {% endif %}\n{% endif %}\nB\n")
    assert environment(tmp_path).get_template("a.j2").render(x=True) == "A\nB"
    (tmp_path / "b.j2").write_text("{{ ('fc', 3)|address }} {{ 'abcdef'|shorten(3) }}")
    assert environment(tmp_path).get_template("b.j2").render() == "#/feature/fc/3 a…f"
