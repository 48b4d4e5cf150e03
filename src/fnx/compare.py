"""``python -m fnx.compare``: the same as ``python -m fnx compare``."""

from functools import partial

if __name__ == "__main__":  # before the other imports, which take a while
    from fnx.utils.ending import answer, end_at_once

    answer(partial(end_at_once, program="fnx compare"))

from fnx.cli import command

main = partial(command, "compare")

if __name__ == "__main__":
    main()
