"""Weights of a network: where they are, and how the formats of the field are read."""
