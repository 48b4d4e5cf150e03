"""`layout=imagenet`: the 50,000 validation images of ILSVRC 2012, flat or sorted by synset."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec
from pathlib import Path

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.layouts.common import (
    Row,
    existing_root,
    folders_in,
    images_in,
    incomplete,
    read_lines,
    read_mat,
    to_listing,
)
from fnx.images.paths import natural_key

log = logging.getLogger(__name__)

_SYNSET = re.compile(r"n\d{8}")
# The last one is where the same images lie as they come from Kaggle.
_PLACES = ("", "val", "ILSVRC2012_img_val", "validation", "ILSVRC/Data/CLS-LOC/val")
_TRUTHS = (
    "ILSVRC2012_validation_ground_truth.txt",  # a number per line, which meta.mat explains
    "imagenet_2012_validation_synset_labels.txt",  # a synset per line
    "validation_labels.txt",
    "LOC_val_solution.csv",  # Kaggle's: image, synset and boxes
)
_BESIDE = ("", "ILSVRC2012_devkit_t12/data", "data", "devkit/data")


def read(config: DatasetConfig) -> Listing:
    """List validation images in order of their synsets, named by each synset's first word."""
    root = existing_root(config)
    for place in _PLACES:
        folder, prefix = root / place, f"{place}/" if place else ""
        if not folder.is_dir():
            continue
        synsets = [name for name in folders_in(folder) if _SYNSET.fullmatch(name)]
        if synsets:
            files = {s: images_in(folder / s, f"{prefix}{s}/") for s in synsets}
            return _listing(config, root, {f: s for s in synsets for f in files[s]})
        flat = sorted(
            (path for path in images_in(folder, prefix) if "ILSVRC2012_val_" in path),
            key=natural_key,
        )
        if flat:
            return _listing(config, root, _labels(config, root, flat))
    raise incomplete(config, "neither ILSVRC2012_val_*.JPEG nor folders by synset")


def _listing(config: DatasetConfig, root: Path, synset_of: dict[str, str]) -> Listing:
    words = _words()
    synsets = sorted(set(synset_of.values()), key=natural_key)
    names = [words.get(synset, synset) for synset in synsets]
    classes = {  # where two have the same name (crane), their synsets tell them apart
        synset: (f"{name} ({synset})" if names.count(name) > 1 else name, "val", order)
        for order, (synset, name) in enumerate(zip(synsets, names, strict=True))
    }
    return to_listing(config, root, [Row(path, *classes[s]) for path, s in synset_of.items()])


def _labels(config: DatasetConfig, root: Path, flat: list[str]) -> dict[str, str]:
    """Return the synset of each flat image, by the ground truth found; image N has line N."""
    places = [root / place for place in (*_BESIDE, *_PLACES)]
    truth = next((p / n for n in _TRUTHS for p in places if (p / n).is_file()), None)
    if truth is None:
        raise incomplete(config, f"no ground truth ({', '.join(_TRUTHS)}) for {len(flat):,} images")
    found = read_lines(truth)
    if truth.suffix == ".csv":
        rows = (re.split(r"[,\s]", line, maxsplit=2) for line in found[1:])
        of_image = {row[0]: row[1] for row in rows if len(row) > 1}
        labels = {path: of_image.get(Path(path).stem, "") for path in flat}
    else:
        if found and found[0].isdigit():
            meaning = _numbered(truth.with_name("meta.mat"))
            found = [meaning.get(line, f"class {line}") for line in found]
        numbers = {path: int(Path(path).stem.rsplit("_", 1)[-1]) for path in flat}
        labels = {path: found[n - 1] if n <= len(found) else "" for path, n in numbers.items()}
    unlabelled = [path for path, label in labels.items() if not label]
    if unlabelled:
        raise DataError(f"{truth} has no label for {len(unlabelled)} images, as {unlabelled[0]}")
    return labels


def _numbered(meta: Path) -> dict[str, str]:
    """Return the synset of each number of the ground truth, from the kit's meta.mat."""
    if not meta.is_file():
        log.warning("no meta.mat beside the ground truth: ImageNet's classes have numbers only")
        return {}
    synsets = read_mat(meta)["synsets"]
    return {
        str(int(number)): str(synset)
        for number, synset in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)
    }


def _words() -> dict[str, str]:
    """Return the first word of each synset, from timm's list; timm itself is not imported."""
    spec = find_spec("timm")
    assert spec is not None  # fnx depends on it
    assert spec.origin is not None
    file = Path(spec.origin).parent / "data/_info/imagenet_synset_to_lemma.txt"
    if not file.is_file():
        log.warning("timm has no list of synsets: ImageNet's classes are named by their synsets")
        return {}
    pairs = (line.split("\t", 1) for line in read_lines(file))
    return {pair[0]: pair[-1].split(",")[0].strip() for pair in pairs}
