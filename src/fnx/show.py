"""``python -m fnx.show``: the same as ``python -m fnx show``."""

from functools import partial

from fnx.cli import command

main = partial(command, "show")

if __name__ == "__main__":
    main()
