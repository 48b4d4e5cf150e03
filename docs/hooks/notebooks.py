"""Tutorials are notebooks: run their Python when the site is built, and show what it returns.

A page with ``notebook: true`` at its top is one. Its blocks of Python are cells, run in order by
one kernel in an empty folder; an error in any of them ends the build. Pages of runs that a cell's
output links to become part of the site.
"""

from __future__ import annotations

import base64
import html
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File
from nbclient import NotebookClient

_CELL = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
_META = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")
_PLACE = "<!-- output {} -->"
_PICTURES = {"image/png": "png", "image/jpeg": "jpg"}
# What a run's page needs, of all that a run leaves.
_PAGE = ("report.html", "report", "pictures", "figures")


@dataclass(frozen=True)
class Notebook:
    """A page that was run: its text, the notebook as source and with outputs, and its folder."""

    text: str
    source: str
    ran: Any
    folder: Path

    @property
    def cells(self) -> list[Any]:
        """The cells of code, with their outputs."""
        return [cell for cell in self.ran.cells if cell.cell_type == "code"]


_notebooks: dict[str, Notebook] = {}


def on_files(files: Any, config: Any) -> Any:
    """Run the notebooks, two at a time; while a site is served only those that changed."""
    texts = {file.src_uri: file.content_string for file in files.documentation_pages()}
    changed = {uri: text for uri, text in texts.items() if _new_notebook(uri, text)}
    with ThreadPoolExecutor(2) as pool:
        _notebooks.update(zip(changed, pool.map(_run, changed.values()), strict=True))
    for uri in sorted(texts.keys() & _notebooks.keys()):
        name, notebook = uri.removesuffix(".md"), _notebooks[uri]
        files.append(File.generated(config, f"{name}.ipynb", content=notebook.source))
        for place, content in _pictures(name, notebook):
            files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Leave a place for the output behind each cell, and offer the notebook at the top."""
    if page.file.src_uri not in _notebooks:
        return markdown
    number = iter(range(len(markdown)))
    marked = _CELL.sub(lambda cell: f"{cell[0]}\n\n{_PLACE.format(next(number))}\n", markdown)
    name = Path(page.file.src_uri).stem
    offer = f"[Download this page as a notebook]({name}.ipynb){{ .fnx-download }}\n"
    return re.sub(r"^(# .*\n)", rf"\1\n{offer}", marked, count=1, flags=re.M)


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
    """Put the cells' outputs into their places."""
    uri = page.file.src_uri
    if uri in _notebooks:
        for number, cell in enumerate(_notebooks[uri].cells):
            shown = "".join(_shown(Path(uri).stem, number, *one) for one in enumerate(cell.outputs))
            content = content.replace(_PLACE.format(number), shown)
    return content


def on_post_build(config: Any) -> None:
    """Copy the pages of the runs that outputs link to."""
    for uri, notebook in _notebooks.items():
        for link in {*re.findall(r'href="(outputs/[^"]+)/report\.html"', str(notebook.ran))}:
            goal = Path(config["site_dir"], uri.removesuffix(".md"), link)
            for part in (notebook.folder / link / name for name in _PAGE):
                copy = shutil.copytree if part.is_dir() else shutil.copyfile
                goal.mkdir(parents=True, exist_ok=True)
                copy(part, goal / part.name)


def is_notebook(text: str) -> bool:
    """Return whether a page's head says that it is a notebook."""
    head = _META.match(text)
    return head is not None and "notebook: true" in head[1].splitlines()


def _new_notebook(uri: str, text: str) -> bool:
    return is_notebook(text) and (uri not in _notebooks or _notebooks[uri].text != text)


def _run(text: str) -> Notebook:
    """Run the cells of a page in an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="fnx-docs-"))
    cells, end = [], 0
    body = _META.sub("", text)
    for found in _CELL.finditer(body):
        cells.append(nbformat.v4.new_markdown_cell(_prose(body[end : found.start()])))
        cells.append(nbformat.v4.new_code_cell(found[1].rstrip()))
        end = found.end()
    cells.append(nbformat.v4.new_markdown_cell(_prose(body[end:])))
    notebook = nbformat.v4.new_notebook(cells=cells)
    source = nbformat.writes(notebook)
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    ).execute()
    return Notebook(text, source, notebook, folder)


def _prose(text: str) -> str:
    """Return Markdown whose links to other pages of the site are plain text."""
    return _LINK.sub(r"\1", text).strip()


def _pictures(name: str, notebook: Notebook) -> list[tuple[str, bytes]]:
    """Return the address and the content of each picture among the outputs."""
    return [
        (f"{name}/{number}-{index}.{ending}", base64.b64decode(output.data[kind]))
        for number, cell in enumerate(notebook.cells)
        for index, output in enumerate(cell.outputs)
        for kind, ending in _PICTURES.items()
        if kind in output.get("data", {})
    ]


def _shown(stem: str, number: int, index: int, output: Any) -> str:
    """Return an output as HTML; what a cell logs is not shown."""
    if output.output_type == "stream":
        return _text(output.text) if output.name == "stdout" else ""
    data = output.get("data", {})
    for kind, ending in _PICTURES.items():
        if kind in data:
            about = {"alt": "What the cell above draws"} | output.metadata.get(kind, {})
            about |= {"src": f"{number}-{index}.{ending}"}
            words = (f'{name}="{html.escape(str(value))}"' for name, value in about.items())
            return f'<div class="fnx-output"><img {" ".join(words)}></div>'
    if "text/html" in data:
        return f'<div class="fnx-output">{data["text/html"]}</div>'
    return _text(data["text/plain"]) if "text/plain" in data else ""


def _text(text: str) -> str:
    """Return a text as HTML, without the colours that a terminal would show."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    return f'<div class="fnx-output"><pre tabindex="0">{html.escape(text.rstrip())}</pre></div>'
