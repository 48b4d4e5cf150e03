"""The compiled loops over all (feature, class) pairs."""
