"""Labelled images: found by the reader of their layout, checked, decoded, cut into crops."""

from fnx.images.dataset import LabelledImages, Listing, Opener
from fnx.images.layouts.readers import list_images
from fnx.images.open import open_images

__all__ = ["LabelledImages", "Listing", "Opener", "list_images", "open_images"]
