"""Embeddings: images × features on disk, extracted once and found again by what shaped them."""

from fnx.embedding.embed import Embedding, Strongest, embed, find_strongest

__all__ = ["Embedding", "Strongest", "embed", "find_strongest"]
