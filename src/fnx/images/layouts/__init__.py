"""One reader a layout: what lies on disk, as a `Listing`."""
