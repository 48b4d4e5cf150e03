"""Embeddings: images × features on disk, extracted once and found again by what shaped them."""

from fnx.embedding.embed import embed
from fnx.embedding.embedding import Embedding

__all__ = ["Embedding", "embed"]
