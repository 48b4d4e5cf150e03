"""``python -m fnx.show``: see `fnx.commands.show`."""

from fnx.commands.show import main

if __name__ == "__main__":
    main()
