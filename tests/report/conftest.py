from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.synthetic import write_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with its figures and page; not to be changed."""
    from fnx.report import write_report
    from fnx.schema import ReportConfig

    folder = write_run(tmp_path_factory.mktemp("runs") / "small")
    write_report(folder, ReportConfig())
    return folder
