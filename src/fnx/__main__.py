"""``python -m fnx``."""

from fnx.utils.ending import answer, end_at_once

answer(end_at_once)  # before the other imports, which take a while

from fnx.cli import main  # noqa: E402
from fnx.utils.collector import settle  # noqa: E402

settle()

if __name__ == "__main__":
    main()
