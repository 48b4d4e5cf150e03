"""The layouts fnx can read, each with its reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fnx.errors import ConfigError, unknown
from fnx.images.labelled import Listing
from fnx.images.readers import digits, folder

if TYPE_CHECKING:
    from fnx.schema import DatasetConfig

#: From `dataset.layout` to the function that lists its images, in modules of the same name.
READERS: dict[str, Callable[[DatasetConfig], Listing]] = {
    "digits": digits.read,
    "folder": folder.read,
}


def read(config: DatasetConfig) -> Listing:
    """List the images of a data set with its layout's reader; no image is opened.

    Raises:
        ConfigError: an unknown layout, or a key that the layout needs.
        DataError: images that are not where, or not as, the layout expects them.
    """
    if config.layout not in READERS:
        raise ConfigError(unknown("dataset.layout", config.layout, READERS))
    return READERS[config.layout](config)
