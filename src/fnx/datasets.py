"""``python -m fnx.datasets``: the same as ``python -m fnx datasets``."""

from functools import partial

if __name__ == "__main__":  # before the other imports, which take a while
    from fnx.utils.ending import answer, end_at_once

    answer(partial(end_at_once, program="fnx datasets"))

from fnx.cli import command

main = partial(command, "datasets")

if __name__ == "__main__":
    main()
