"""The same layers with thingsvision, in an environment of its own; prints seconds an image.

``PYTHON peer_thingsvision.py ROOT COUNT OUT``. It keeps whole maps, so COUNT images are
taken in steps whose maps fit in memory, each averaged over space as its caller would do.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from thingsvision import get_extractor
from thingsvision.utils.data import DataLoader, ImageDataset
from torch.utils.data import Subset

BATCH = 16
NODES = [f"features.{i}" for i in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29)]
NODES += ["classifier.1", "classifier.4"]


def main() -> None:
    """Time it."""
    root, count, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    extractor = get_extractor("vgg16", source="torchvision", device="cpu", pretrained=False)
    dataset = ImageDataset(
        root=str(root),
        out_path=str(out),
        backend=extractor.get_backend(),
        transforms=extractor.get_transformations(resize_dim=256, crop_dim=224),
    )
    total = 0
    start = 0.0
    for first in range(-BATCH, count, BATCH):  # the first step warms up
        if first == 0:
            start = time.perf_counter()
        part = Subset(dataset, range(max(first, 0), min(max(first, 0) + BATCH, count)))
        found = extractor.extract_features(
            DataLoader(dataset=part, batch_size=BATCH, backend=extractor.get_backend()),
            module_names=NODES,
            flatten_acts=False,
            output_type="ndarray",
        )
        pooled = [v.mean((2, 3)) if v.ndim == 4 else v for v in found.values()]
        total += len(np.concatenate(pooled, 1)) if first >= 0 else 0
    assert total == count, (total, count)
    print((time.perf_counter() - start) / count)


if __name__ == "__main__":
    main()
