"""What a user would write with torchvision: the same layers, centre crops; prints seconds an image.

``python peer_torchvision.py ROOT WEIGHTS COUNT``: features through ``create_feature_extractor``,
averaged over space. COUNT images are timed after a batch to warm up.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import vgg16
from torchvision.models.feature_extraction import create_feature_extractor

BATCH = 16
# The activation after each of VGG16's 13 convolutions, then after fc6 and fc7.
NODES = [f"features.{i}" for i in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29)]
NODES += ["classifier.1", "classifier.4"]


def torchvision_names(weights: Path) -> dict[str, torch.Tensor]:
    """timm's VGG16 keeps its fully connected layers as convolutions under other names."""
    names = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3"}
    names |= {"head.fc": "classifier.6"}
    found = {}
    for key, value in torch.load(weights, weights_only=True).items():
        stem, _, kind = key.rpartition(".")
        new = f"{names.get(stem, stem)}.{kind}"
        found[new] = (
            value.flatten(1) if new.startswith("classifier") and kind == "weight" else value
        )
    return found


def main() -> None:
    """Time it."""
    root, weights, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    network = vgg16()
    network.load_state_dict(torchvision_names(weights))
    extractor = create_feature_extractor(network.eval(), NODES)
    usual = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    images = Subset(ImageFolder(str(root), usual), range(count))
    loader = DataLoader(images, BATCH, num_workers=1)
    rows = []
    with torch.inference_mode():
        extractor(torch.zeros(BATCH, 3, 224, 224))
        start = time.perf_counter()
        for batch, _ in loader:
            found = extractor(batch)
            pooled = [v.mean((2, 3)) if v.ndim == 4 else v for v in found.values()]
            rows.append(torch.cat(pooled, 1).numpy())
        np.save(root.parent / "torchvision.npy", np.concatenate(rows))
        print((time.perf_counter() - start) / count)


if __name__ == "__main__":
    main()
