"""``python -m fnx.show``: the same as ``python -m fnx show``."""

from functools import partial

if __name__ == "__main__":  # before the other imports, which take a while
    from fnx.utils.ending import answer, end_at_once

    answer(partial(end_at_once, program="fnx show"))

from fnx.cli import command

main = partial(command, "show")

if __name__ == "__main__":
    main()
