"""``python -m fnx.compare``: the same as ``python -m fnx compare``."""

from functools import partial

from fnx.cli import command

main = partial(command, "compare")

if __name__ == "__main__":
    main()
