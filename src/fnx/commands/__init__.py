"""The commands beside a run, one file each: arguments in, text out."""
