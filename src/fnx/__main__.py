"""``python -m fnx``."""

from fnx.cli import main

if __name__ == "__main__":
    main()
