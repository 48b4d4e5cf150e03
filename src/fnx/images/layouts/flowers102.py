"""`layout=flowers102`: Oxford 102 Flowers, labelled by its MATLAB files."""

from __future__ import annotations

import numpy as np

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.layouts.common import Row, find_base, read_mat, to_listing

#: Names in order of the labels 1…102, from the authors' page of categories; no file has them.
NAMES = """\
pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily,
moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king protea,
spear thistle, yellow iris, globe-flower, purple coneflower, peruvian lily, balloon flower,
giant white arum lily, fire lily, pincushion flower, fritillary, red ginger, grape hyacinth,
corn poppy, prince of wales feathers, stemless gentian, artichoke, sweet william, carnation,
garden phlox, love in the mist, mexican aster, alpine sea holly, ruby-lipped cattleya, cape flower,
great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil, sword lily, poinsettia,
bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common dandelion, petunia,
wild pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura, geranium, orange dahlia,
pink-yellow dahlia, cautleya spicata, japanese anemone, black-eyed susan, silverbush,
californian poppy, osteospermum, spring crocus, bearded iris, windflower, tree poppy, gazania,
azalea, water lily, rose, thorn apple, morning glory, passion flower, lotus, toad lily, anthurium,
frangipani, clematis, hibiscus, columbine, desert-rose, tree mallow, magnolia, cyclamen, watercress,
canna lily, hippeastrum, bee balm, ball moss, foxglove, bougainvillea, camellia, mallow,
mexican petunia, bromelia, blanket flower, trumpet creeper, blackberry lily\
""".replace("\n", " ").split(", ")

_SPLITS = {"trnid": "train", "valid": "val", "tstid": "test"}


def read(config: DatasetConfig) -> Listing:
    """List all images, labelled by imagelabels.mat and split as in setid.mat."""
    base = find_base(config, ["jpg", "imagelabels.mat", "setid.mat"], folders=("flowers-102",))
    labels = read_mat(base / "imagelabels.mat").get("labels")
    sets = read_mat(base / "setid.mat")
    if labels is None or any(name not in sets for name in _SPLITS):
        raise DataError(
            f"{base}: expected labels in imagelabels.mat, {', '.join(_SPLITS)} in setid"
        )
    splits = {
        int(image): split for name, split in _SPLITS.items() for image in np.atleast_1d(sets[name])
    }
    numbers = [int(label) for label in np.atleast_1d(labels)]
    if not all(1 <= label <= len(NAMES) for label in numbers):
        raise DataError(f"{base}/imagelabels.mat: labels outside of 1…{len(NAMES)}")
    rows = [
        Row(f"jpg/image_{image:05d}.jpg", NAMES[label - 1], splits.get(image), label)
        for image, label in enumerate(numbers, start=1)
    ]
    return to_listing(config, base, rows)
