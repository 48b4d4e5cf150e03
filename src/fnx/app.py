"""One run: the paper's method, in the paper's order."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fnx.analysis import Run, tables
from fnx.analysis.record import (
    Counts,
    Extraction,
    Kept,
    KeptBySign,
    RunRecord,
    Stopwatch,
    versions,
)
from fnx.config.checks import check, check_listing
from fnx.config.compose import reference_dataset
from fnx.config.schema import Config
from fnx.embedding.embed import Embedding, embed, find_strongest
from fnx.images import LabelledImages, list_images, open_images
from fnx.images.reference import open_reference
from fnx.registry import registry
from fnx.report import summary, track, write_pictures, write_report
from fnx.statistics import dask as on_dask
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations
from fnx.thresholds import Thresholds, find_thresholds
from fnx.utils.launch import OtherRank
from fnx.utils.progress import progress_bar
from fnx.utils.redact import redacted

log = logging.getLogger(__name__)


def run(config: Config, run_dir: Path, *, sweep: str | None = None) -> Run:
    """What every feature says about every class, from images to report; all of it in `run_dir`.

    Args:
        config: the configuration.
        run_dir: folder of the run, made if it is not there.
        sweep: id of the sweep that the run belongs to, if any.

    Raises:
        FnxError: what the user can mend, found before the long work where it can be.
    """
    check(config)
    run_dir.mkdir(parents=True, exist_ok=True)
    stage = Stopwatch()

    with stage("images"):  # the target task: labelled images (Section 3.2)
        listing = list_images(config.dataset)
        check_listing(config, listing.class_names)
        images = open_images(config.dataset, Path(config.paths.cache), listing)
        check_listing(config, images.class_names)  # without classes that cannot be read
        reference = open_reference(images, config, reference_dataset(config))

    # crops through the network, pooled and averaged (Section 3.3); what excites each feature most
    embedding, reused = extract(images, reference, config, run_dir, stage)

    with stage("distances"):  # inner against outer class, real and random labels (Sections 4, 7)
        constant = measure_distances(embedding, config, run_dir)

    with stage("thresholds"):  # the D beyond which a feature is more than noise (Section 7.1)
        thresholds = choose_thresholds(embedding, config, run_dir)

    with stage("analysis"):  # distributions by layer, strongest features by class (Sections 5 to 7)
        write_tables(embedding, constant, thresholds, config, run_dir)

    record = make_record(run_dir, config, images, embedding, reused=reused, stage=stage)
    record.write(run_dir)
    with stage("pictures"):  # what each feature answers to (Figures 2, 3, 4, 7)
        write_pictures(run_dir, images, reference, config)

    with stage("report"):  # Figures 1, 5, 6, 9, 10, Tables 1 to 3, and the page
        write_report(run_dir, config.report)

    record.write(run_dir)
    finished = Run.open(run_dir)
    track(finished, config.logger, sweep=sweep)
    print(summary(finished))  # noqa: T201
    return finished


def extract(
    images: LabelledImages,
    reference: LabelledImages | None,
    config: Config,
    run_dir: Path,
    stage: Stopwatch,
) -> tuple[Embedding, bool]:
    """All that needs the network: the embedding, and whether it was there; what excites features.

    The latter is written as ``strongest.parquet`` and ``strongest_images.parquet``, if there are
    reference images.

    Raises:
        OtherRank: in a process that srun or torchrun started, on all ranks but the first.
    """
    try:
        with stage("embedding"):
            embedding, reused = embed(images, config)
    except OtherRank:
        if reference is not None:  # this rank's share of the other pass, where it leaves as well
            find_strongest(reference, config)
        raise
    if reference is not None:
        with stage("strongest"):
            find_strongest(reference, config).copy_to(run_dir)
    return embedding, reused


def measure_distances(embedding: Embedding, config: Config, run_dir: Path) -> NDArray[np.bool_]:
    """Distances of all features and classes under real and random labels; which are constant.

    One pass over the embedding serves all labellings. Writes ``distances.npy`` (F, C) and
    ``distances_random.npy`` (R, F, C), float32, block by block.
    """
    labels = embedding.labels
    shuffled = permutations(labels, config.threshold["permutations"], config.seed)
    shape = (embedding.manifest.features, len(embedding.class_names))
    real = _reserved(run_dir / "distances.npy", shape)
    random = _reserved(run_dir / "distances_random.npy", (len(shuffled), *shape))
    statistic = dict(config.statistic)
    name = statistic.pop("name")
    engine = config.engine
    compute = partial(all_distances, threads=engine.threads)
    if engine.name == "dask":
        compute = partial(on_dask.all_distances, address=engine.address, workers=engine.workers)
    bar = progress_bar(f"distances ({name})", total=shape[0], unit="features")
    with bar:
        return compute(
            embedding.features,
            np.vstack([labels, shuffled]),
            shape[1],
            registry.get_statistic(name),
            statistic,
            out=[real, *random],
            progress=bar.update,
        ).constant


def _reserved(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A float32 array on disk, whose space is taken now: writing to a full disk later would kill.

    Raises:
        OSError: the disk is full.
    """
    array = open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def choose_thresholds(embedding: Embedding, config: Config, run_dir: Path) -> Thresholds:
    """t+ and t− by the configured strategy, from the distances in `run_dir`."""
    strategy = dict(config.threshold)
    return find_thresholds(
        np.load(run_dir / "distances.npy", mmap_mode="r"),
        np.load(run_dir / "distances_random.npy", mmap_mode="r"),
        strategy=strategy.pop("name"),
        statistic=config.statistic["name"],
        class_sizes=np.bincount(embedding.labels),
        **strategy,
    )


def write_tables(
    embedding: Embedding,
    constant: NDArray[np.bool_],
    thresholds: Thresholds,
    config: Config,
    run_dir: Path,
) -> None:
    """Write the run's Parquet tables: see "What a run leaves" in the documentation."""
    real = np.load(run_dir / "distances.npy", mmap_mode="r")
    random = np.load(run_dir / "distances_random.npy", mmap_mode="r")
    features = embedding.feature_table.with_columns(constant=constant)
    written = {
        "images": embedding.images,
        "classes": tables.classes_table(embedding.images, embedding.class_names).join(
            tables.class_thresholds_table(thresholds, real.shape[1]), on="class_id"
        ),
        "features": features,
        "thresholds": tables.thresholds_table(thresholds),
        "davg": tables.davg_table(thresholds),
        "layers": tables.layers_table(features, real, random, thresholds),
        "top_features": tables.top_features_table(real, config.report.top_k),
    }
    if embedding.network is not None:
        written["network"] = embedding.network
    for name, table in written.items():
        table.write_parquet(run_dir / f"{name}.parquet")


def make_record(
    run_dir: Path,
    config: Config,
    images: LabelledImages,
    embedding: Embedding,
    *,
    reused: bool,
    stage: Stopwatch,
) -> RunRecord:
    """Return the run's record; the times of stages still to come are added to its `seconds`."""
    listed, classes, features, thresholds = (
        pl.read_parquet(run_dir / f"{name}.parquet")
        for name in ("images", "classes", "features", "thresholds")
    )
    kept = {row.pop("sign"): Kept(**row) for row in thresholds.to_dicts()}
    failed = listed.filter(pl.col("status") == "failed").height
    extraction = embedding.extraction
    return RunRecord(
        fnx_version=metadata.version("fnx"),
        versions=versions(),
        command=redacted(["python", "-m", "fnx", *sys.argv[1:]]),
        started=stage.started.isoformat(timespec="seconds"),
        seed=config.seed,
        dataset=config.dataset.name,
        model=config.model.name,
        tap=config.model.tap,
        crops=asdict(config.crops),
        statistic=config.statistic,
        threshold=config.threshold,
        fingerprint=embedding.manifest.fingerprint,
        embedding=str(embedding.path),
        embedding_reused=reused,
        extraction=Extraction(**asdict(extraction)) if extraction else None,
        weights_digest=embedding.manifest.inputs["weights"],
        counts=Counts(
            images=listed.height - failed,
            failed=failed,
            classes=classes.height,
            features=features.height,
            constant=int(features["constant"].sum()),
        ),
        thresholds=KeptBySign(kept["+"], kept.get("-")),
        seconds=stage.seconds,
        warnings=redacted(list(images.warnings)),
        config=redacted(asdict(config)),
    )
