"""``python -m fnx.compare``: see `fnx.commands.compare`."""

from fnx.commands.compare import main

if __name__ == "__main__":
    main()
