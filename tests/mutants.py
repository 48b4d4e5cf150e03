"""Change one thing in the code at random, run the tests that cover it, and list what they miss.

`make mutants` takes a seeded sample over all files but the kernels. Tests are chosen by what
`make coverage` has recorded, the fastest first; a mutant that passes them also meets its room's.
Mutants that mean the same as the code are listed, with the reason, in `equivalent_mutants.toml`.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from queue import Queue
from xml.etree import ElementTree

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from coverage import CoverageData

ROOT = Path(__file__).parents[1]
TIMES = ROOT / ".coverage.xml"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
LEFT_OUT = "src/fnx/statistics/kernels/"  # compiled
# Not "<" for "==" or "is" for "<", which mean the same, or nothing, as often as not.
OPERATORS = re.compile(
    r"core/(Number|ReplaceTrue|ReplaceFalse|ReplaceAnd|ReplaceOr|AddNot|Zero|Exception|ReplaceBreak"
    r"|ReplaceContinue|ReplaceUnaryOperator_(USub_|Delete_)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt"
    r"|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)$"
    r"|ReplaceBinaryOperator_\w+?_(Add|Sub|Mul|Div|FloorDiv|BitOr|BitAnd)$)"
)
UNREAD = ("if TYPE_CHECKING", "log.info", "log.debug")
HEAVY = ("lightning", "matplotlib.figure", "numba", "plotly.offline", "polars", "scipy.stats",
    "timm", "torch", "wandb", "zarr")  # fmt: skip
SECONDS = 60.0  # of tests, by their recorded times, for one mutant


@dataclass(frozen=True)
class Mutant:
    """A changed file."""

    path: str
    line: int
    kind: str
    text: str

    @property
    def diff(self) -> str:
        """The lines that differ."""
        lines = (ROOT / self.path).read_text().splitlines(), self.text.splitlines()
        found = difflib.unified_diff(*lines, lineterm="", n=0)
        return "\n".join(line for line in found if line[:2] not in ("--", "++", "@@"))


def unread(tree: ast.AST) -> Iterator[ast.AST]:
    """What no test could notice: annotations, what the log says, imports for the types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.If | ast.Call) and ast.unparse(node).startswith(UNREAD):
            yield node


def places(path: str) -> dict[tuple[int, int, str], list[tuple[str, int]]]:
    """Where a file can be changed and how: position and kind to operators and their occurrences."""
    source = (ROOT / path).read_text()
    spans = [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        for node in unread(ast.parse(source))
    ]
    found: dict[tuple[int, int, str], list[tuple[str, int]]] = {}
    nodes = list(ast_nodes(get_ast(source)))
    for name in filter(OPERATORS.match, plugins.operator_names()):
        operator, occurrence = plugins.get_operator(name)(), 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                if not any(low <= start < high for low, high in spans):
                    kind = name.split("_")[0].removeprefix("core/")
                    found.setdefault((*start, kind), []).append((name, occurrence))
                occurrence += 1
    for i, (at, kind) in enumerate(edits(source)):
        if not any(low <= at < high for low, high in spans):
            found[(*at, kind)] = [(kind, i)]
    return found


def edits(source: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Where a statement can be dropped or two arguments swapped; `edited` does the same walk."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AugAssign | ast.Raise) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            yield (node.lineno, node.col_offset), "Drop"
        elif isinstance(node, ast.Call) and len(node.args) > 1 and alike(*node.args[:2]):
            yield (node.lineno, node.col_offset), "Swap"


def alike(*nodes: ast.expr) -> bool:
    """Whether arguments are of one kind: others cannot be mistaken for each other."""
    return len({type(node) for node in nodes}) == 1


def edited(source: str, number: int) -> str:
    """The source with the edit of this number made."""
    tree = ast.parse(source)
    at, kind = list(edits(source))[number]
    for node in ast.walk(tree):
        if getattr(node, "lineno", 0) != at[0] or getattr(node, "col_offset", -1) != at[1]:
            continue
        if kind == "Drop" and isinstance(node, ast.stmt):
            return replaced(source, node, "pass")
        if kind == "Swap" and isinstance(node, ast.Call) and len(node.args) > 1:
            first, second = (ast.get_source_segment(source, arg) or "" for arg in node.args[:2])
            return replaced(replaced(source, node.args[1], first), node.args[0], second)
    raise AssertionError(at)


def replaced(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """The source with a node's text replaced."""
    lines = source.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: (node.end_lineno or 1) - 1])) + (node.end_col_offset or 0)
    return (source.encode()[:start] + text.encode() + source.encode()[end:]).decode()


def sample(paths: Sequence[str], seed: int, number: int) -> list[Mutant]:
    """Mutants at places chosen at random from all, each with one of its operators."""
    rng, known, found = random.Random(seed), equivalents(), []
    every = [(path, *item) for path in paths for item in places(path).items()]
    rng.shuffle(every)
    for path, (line, _, kind), options in every:
        name, occurrence = rng.choice(options)
        source = (ROOT / path).read_text()
        if name in ("Drop", "Swap"):
            text = edited(source, occurrence)
        else:
            text = mutate_code(source, plugins.get_operator(name)(), occurrence) or source
        mutant = Mutant(path, line, kind, text)
        if text != source and (path, mutant.diff) not in known:
            found.append(mutant)
        if len(found) == number:
            break
    return found


def equivalents() -> set[tuple[str, str]]:
    """Path and diff of the mutants that are known to mean the same as the code."""
    listed = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    return {(one["path"], one["diff"].strip("\n")) for one in listed}


class Covered:
    """Which tests run which lines, and how long each takes, as `make coverage` recorded it."""

    def __init__(self) -> None:
        self.data = CoverageData(ROOT / ".coverage")
        self.data.read()
        self.seconds: dict[str, float] = {}
        if not TIMES.exists():
            return
        for case in ElementTree.parse(TIMES).iter("testcase"):
            if not len(case):  # it passed
                module = case.get("classname", "").replace(".", "/")
                self.seconds[f"{module}.py::{case.get('name')}"] = float(case.get("time", 0))

    def tests(self, mutant: Mutant) -> list[str]:
        """Tests of the mutant's line, or of its function, or of its file; the fastest first."""
        lines = self.data.contexts_by_lineno(mutant.path)
        tree = ast.parse((ROOT / mutant.path).read_text())
        around = [range(mutant.line, mutant.line + 1)]
        around += [
            range(node.lineno, (node.end_lineno or 0) + 1)
            for node in reversed(list(ast.walk(tree)))
            if isinstance(node, ast.FunctionDef | ast.Module | ast.ClassDef)
            and getattr(node, "lineno", 0) <= mutant.line <= (getattr(node, "end_lineno", 0) or 0)
        ]
        for some in (*around, lines):
            names = {one.split("|")[0] for line in some for one in lines.get(line, ())}
            known = sorted(names & self.seconds.keys(), key=self.seconds.__getitem__)
            if known:
                break
        total, chosen = 0.0, []
        for name in known:
            total += self.seconds[name]
            if chosen and total > SECONDS:
                break
            chosen.append(name)
        return chosen


def room(path: str) -> list[str]:
    """Where else a file is tested, for what no recorded test has noticed."""
    parts = Path(path).relative_to("src/fnx").with_suffix("").parts
    places = (Path("tests", *parts[:depth]) for depth in range(len(parts) - 1, 0, -1))
    own = next((place for place in places if (ROOT / place).is_dir()), Path("tests/test_app.py"))
    # Its doctests, its room's, what is shown, and the rules of the house.
    return [path, own.as_posix(), "tests/numbers", "tests/test_house.py"]


def run(tree: Path, tests: Sequence[str], *options: str, limit: float) -> tuple[bool, str]:
    """Run tests in a copy of the tree: whether all pass in time, and what pytest printed.

    They run in a fork, which has the heavy libraries already; fnx itself it imports anew.
    """
    log = tree / "pytest.log"
    words = ["-q", "-p", "no:cacheprovider", *options, *tests]
    process = get_context("fork").Process(target=_pytest, args=(tree, log, words))
    process.start()
    process.join(limit)
    if process.is_alive():
        os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    return process.exitcode == 0, log.read_text()


def _pytest(tree: Path, log: Path, words: list[str]) -> None:
    import pytest

    os.setsid()  # so that what the tests start ends with them
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.setdefault("FNX_SHARED", str(ROOT.parent / "shared"))
    sys.path[:0] = [str(tree), str(tree / "src")]
    sys.dont_write_bytecode = True
    os._exit(pytest.main(words))


def survives(
    mutant: Mutant, tree: Path, first: Sequence[str], then: Sequence[str], broken: set[str]
) -> bool:
    """Whether a mutant passes the tests that cover it, and then those of its room."""
    file = tree / mutant.path
    source = file.read_text()
    file.write_text(mutant.text)
    try:
        steps = [first] if first == then else [first, then]
        options = ["-x", *(f"--deselect={name}" for name in sorted(broken))]
        return all(run(tree, some, *options, limit=10 * SECONDS)[0] for some in steps)
    finally:
        file.write_text(source)


def files(below: Sequence[str]) -> list[str]:
    """The files that are mutated."""
    found = [path.relative_to(ROOT) for path in sorted((ROOT / "src/fnx").rglob("*.py"))]
    named = [path.as_posix() for path in found]
    return [
        path for path in named if path.startswith(tuple(below)) and not path.startswith(LEFT_OUT)
    ]


def main() -> None:
    """Print a line for each mutant and the diff of each survivor; fail below 90 % noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", nargs="+", help="run these, not those that were recorded")
    parser.add_argument("--unchecked", action="store_true", help="take it that all tests pass")
    parser.add_argument("below", nargs="*", default=["src/fnx"], help="folders or files")
    options = parser.parse_args()
    start = time.monotonic()
    mutants = sample(files(options.below), options.seed, options.number)
    tests_of = Covered().tests if not options.tests else lambda _: options.tests
    tests = {mutant: tests_of(mutant) or room(mutant.path) for mutant in mutants}
    for name in HEAVY:
        import_module(name)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        trees: Queue[Path] = Queue()
        for job in range(options.jobs):
            ignored = shutil.ignore_patterns(".*_cache", ".venv", ".git", "outputs", ".hypothesis")
            trees.put(Path(shutil.copytree(ROOT, Path(folder, str(job)), ignore=ignored)))
        tree = trees.get()
        every = sorted({name for names in tests.values() for name in names})
        out = "unchecked" if options.unchecked else run(tree, every, "-rfE", limit=3600)[1]
        broken = set(re.findall(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", out, re.MULTILINE))
        print(f"{len(broken)} of the tests fail without a change: {out.splitlines()[-1]}")
        trees.put(tree)

        def judged(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                alive = survives(
                    mutant, tree, tests[mutant], options.tests or room(mutant.path), broken
                )
            finally:
                trees.put(tree)
            word = "SURVIVED" if alive else "noticed"
            print(f"{word:9}{mutant.path}:{mutant.line} {mutant.kind}", flush=True)
            return alive

        alive = [m for m, lives in zip(mutants, pool.map(judged, mutants), strict=True) if lives]
    for mutant in alive:
        print(f"\n{mutant.path}:{mutant.line} {mutant.kind}\n{mutant.diff}")
    share = 1 - len(alive) / len(mutants)
    print(f"\n{share:.0%} of {len(mutants)} noticed in {(time.monotonic() - start) / 60:.0f} min")
    sys.exit(share < 0.9)


if __name__ == "__main__":
    main()
