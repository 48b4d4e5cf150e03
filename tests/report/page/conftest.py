from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.browser import find

NETWORK_FREE = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium, started once for all tests of pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=find(), args=NETWORK_FREE)
        yield started
        started.close()
