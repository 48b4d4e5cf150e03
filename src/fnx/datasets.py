"""``python -m fnx.datasets``: the same as ``python -m fnx datasets``."""

from functools import partial

from fnx.cli import command

main = partial(command, "datasets")

if __name__ == "__main__":
    main()
