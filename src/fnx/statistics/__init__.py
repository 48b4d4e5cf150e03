"""Embedding and labels to distances: definitions, all-pairs kernels, and their engine."""
