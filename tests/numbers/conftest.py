from __future__ import annotations

import pytest
from tests.numbers.recount import Recount
from tests.numbers.runs import KINDS, make


@pytest.fixture(scope="session", params=KINDS)
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recount:
    """What the numbers of a run ought to be; its folder is not to be changed."""
    return make(tmp_path_factory.mktemp(request.param) / "run", request.param)
