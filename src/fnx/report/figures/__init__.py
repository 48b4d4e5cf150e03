"""The figures, one file each, named by what it shows."""
