from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.numbers.recount import Recount
from tests.numbers.runs import KINDS, make, undrawn

from fnx.config.schema import Config


@pytest.fixture(scope="session", params=KINDS)
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recount:
    """What the numbers of a run ought to be; its folder is not to be changed."""
    return make(tmp_path_factory.mktemp(request.param) / "run", request.param)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory, tiny_at: Callable[..., Config]) -> Recount:
    """The same of a run of the whole method, from images to report."""
    from fnx import app

    folder = tmp_path_factory.mktemp("whole")
    with undrawn():
        app.run(tiny_at(folder, "threshold.permutations=3", "report.top_k=10"), folder / "run")
    return Recount(folder / "run")
