"""The pictures behind features and classes."""
