"""``python -m fnx.datasets``: see `fnx.commands.datasets`."""

from fnx.commands.datasets import main

if __name__ == "__main__":
    main()
