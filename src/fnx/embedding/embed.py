"""Find an embedding by its fingerprint, or extract what is missing of it."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnx.analysis.record import Extraction
from fnx.embedding import known_rows, store
from fnx.embedding.embedding import Embedding
from fnx.embedding.fingerprint import fingerprint, shaping_inputs
from fnx.embedding.manifest import Manifest
from fnx.errors import DataError
from fnx.utils import launch
from fnx.utils.lock import SharedLock, exclusive_lock

if TYPE_CHECKING:
    from fnx.backbones.weights.locate import WeightsFile
    from fnx.config.schema import Config
    from fnx.images.dataset import LabelledImages

log = logging.getLogger(__name__)


def embed(images: LabelledImages, config: Config) -> tuple[Embedding, bool]:
    """Return the embedding of `images` by the configured backbone, and whether it was found.

    It is looked up below ``paths.cache`` by its recipe and its images' contents, and checked by its
    checksums; its images, names and labels are those of `images`, whatever data set it was made
    for. What is missing or damaged is copied from other embeddings of the recipe where they hold
    it, and extracted where none does, by one run at a time: others wait.

    Raises:
        WeightsError: weights that are missing, damaged or made for another network.
        DataError: an embedding of another version, a folder that cannot be written.
        NonZeroRankExit: in a process that srun or torchrun started, on all ranks but rank 0.
    """
    from fnx.backbones.weights.locate import locate

    weights = locate(config.model, config.seed)
    inputs = shaping_inputs(images, config, weights.digest)
    found = _get_or_extract(images, config, weights, inputs)
    _write_network_tables(found, config)
    with suppress(OSError):  # a folder that is only read; the time of its last use
        os.utime(found.path / "manifest.json")
    manifest = Manifest.read(found.path)  # with the digest of that table
    found = dataclasses.replace(found, manifest=manifest, held_images=images.table)
    return found, found.extraction is None


def _get_or_extract(
    images: LabelledImages, config: Config, weights: WeightsFile, inputs: dict[str, Any]
) -> Embedding:
    """Return the whole embedding; it is not removed while it lives (see `fnx.embedding.cache`)."""
    cache, name = Path(config.paths.cache), f"{images.name}-{config.model.name}"
    known, copied, lease = None, None, None
    with ExitStack() as stack:
        work: tuple[Path, dict[str, Any], bool] | None = None
        if launch.is_rank_zero():
            path, inputs = known_rows.locate(cache, name, images, inputs)
            lease = SharedLock(path)
            found = store.is_whole(path, fingerprint(inputs))
            if not found:
                try:
                    lock = exclusive_lock(path, f"extracts {path.name}", lambda: _progress(path))
                    stack.enter_context(lock)
                except OSError as error:
                    raise DataError(
                        f"{path.parent} cannot be written ({error.strerror or error}), so nothing "
                        "can be extracted there: choose another folder as paths.cache=PATH"
                    ) from error
                lease = SharedLock(path)  # whose folder is there now
                # Another run may have finished it meanwhile.
                found = store.is_whole(path, fingerprint(inputs))
            done = found
            if not found:
                known = known_rows.find(cache, path, images, inputs)
                if known.all:
                    copied = known_rows.assemble(path, images, inputs, known)
                    done = copied is not None and not copied.gaps
            work = path, inputs, done
        if launch.is_externally_launched():
            from fnx.embedding import ranks

            work = ranks.broadcast_from_rank_zero(ranks.make_trainer(config.trainer), work)
            assert work is not None
            if work[2] and not launch.is_rank_zero():
                raise launch.NonZeroRankExit
        assert work is not None
        path, inputs, done = work
        made = None
        if not done:
            from fnx.embedding import extraction

            made = extraction.extract(images, config, weights, inputs, path, known=known)
            if copied is not None:  # which was begun, but some of a source was damaged or gone
                made = dataclasses.replace(made, copied=images.ok().height - made.images)
        elif copied is not None:
            made = Extraction(0, 0.0, copied.rows)
        else:
            log.info("embedding reused: %s", path)
        if known is not None:
            known_rows.add_network_tables(path, cache, inputs)
        return dataclasses.replace(Embedding.open(path), extraction=made, lease=lease)


@contextmanager
def embed_centre(images: LabelledImages, config: Config, folder: Path) -> Iterator[Embedding]:
    """Yield an embedding of the images' centre views; it is removed when the block ends.

    For the positions of an embedding that was made before they were stored. The pass runs on one
    device, whatever launched this process. The files lie in `folder` meanwhile.

    Raises:
        WeightsError: see `embed`.
    """
    from fnx.backbones.weights.locate import locate
    from fnx.embedding import extraction, ranks

    views = "dense" if config.crops.name == "dense" else "center"
    config = dataclasses.replace(
        config,
        crops=dataclasses.replace(config.crops, name=views),
        trainer=dataclasses.replace(config.trainer, compile=False),
    )
    weights = locate(config.model, config.seed)
    inputs = shaping_inputs(images, config, weights.digest)
    with tempfile.TemporaryDirectory(prefix=".positions-", dir=folder) as temporary:
        path = Path(temporary) / "embedding"
        single = ranks.make_single_trainer(config.trainer)
        extraction.extract(images, config, weights, inputs, path, single)
        yield Embedding.open(path)


def _write_network_tables(embedding: Embedding, config: Config) -> None:
    """Put Table 1 and receptive fields beside a new embedding, or one of an older version."""
    missing = [name for name in store.NETWORK_TABLES if not (embedding.path / name).is_file()]
    if not missing:
        return  # timm, which takes seconds to import, is not needed
    from fnx.backbones.fields import as_table
    from fnx.backbones.network_table import network_table
    from fnx.backbones.receptive import receptive_fields

    name, size = config.model.timm_name, config.crops.size
    features = dict(embedding.feature_table.group_by("layer").len().iter_rows())
    made = {
        "network.parquet": lambda: network_table(name, size, features),
        "receptive_fields.parquet": lambda: as_table(receptive_fields(name, size)),
    }
    try:
        for file in missing:
            store.add_table(embedding.path, file, made[file]())
    except Exception as error:  # any network's code; what was extracted is worth more than Table 1
        why = (str(error).splitlines() or [""])[0]
        log.warning("no Table 1 of %s: %s %s", config.model.name, type(error).__name__, why)


def _progress(path: Path) -> str:
    """Return how far another run is with the embedding in `path`."""
    try:
        manifest = Manifest.read(path)
    except DataError:  # not yet made
        return "it has not begun to write"
    done = manifest.n_shards - len(store.missing_shards(path, manifest))
    return f"{done} of {manifest.n_shards} shards are there"
