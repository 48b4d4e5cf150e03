"""One run: the paper's method, in the paper's order."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fnx.analysis.advice import ADVICE, Advice
from fnx.analysis.advice import TABLE as ADVICE_TABLE
from fnx.analysis.adviser import advise
from fnx.analysis.detectors import detectors as find_detectors
from fnx.analysis.labelling import groups
from fnx.analysis.record import RECORD, Counts, Kept, KeptBySign, RunRecord, Stopwatch, versions
from fnx.analysis.significance import add_significance, pooled_null
from fnx.analysis.tables import analyse
from fnx.config.checks import check, check_features, check_listing
from fnx.config.compose import reference_dataset
from fnx.config.schema import Config
from fnx.embedding import Embedding, embed
from fnx.errors import DataError
from fnx.images import LabelledImages, list_images, open_images
from fnx.images.reference import open_reference, reference_crops
from fnx.registry import statistics
from fnx.report import contents, print_summary, track, write_report
from fnx.report.notebook import Run
from fnx.report.pictures.pictures import write_pictures
from fnx.report.pictures.top_rows import write_top_rows
from fnx.statistics import dask as on_dask
from fnx.statistics.calibration import second_moment
from fnx.statistics.engine import all_distances
from fnx.statistics.null import Null
from fnx.statistics.null import null as make_null
from fnx.thresholds import Thresholds, find_thresholds
from fnx.utils.launch import NonZeroRankExit
from fnx.utils.progress import progress_bar
from fnx.utils.redact import redacted
from fnx.utils.version import fnx_version

log = logging.getLogger(__name__)

Distances = NDArray[np.float32]


def run(
    config: Config, run_dir: Path, *, sweep: str | None = None, array: Embedding | None = None
) -> Run:
    """Find out what every feature says about every class, from images to report.

    Args:
        config: the configuration.
        run_dir: folder of the run, made if it is not there. It is finished when it has its
            ``run.json``.
        sweep: id of the sweep that the run belongs to, if any.
        array: the features of ``dataset=array``, where they are not in a file.

    Raises:
        FnxError: what the user can mend, found before the long work where it can be.
    """
    check(config)
    stage = Stopwatch()

    of_array = config.dataset.layout == "array"
    images: LabelledImages | None = None
    reference: LabelledImages | None = None
    with stage("array" if of_array else "images"):  # the target task (Section 3.2)
        if of_array:
            array = array or Embedding.read_array(config.dataset)
            check_features(config, array.feature_table, array.class_names)
        else:
            images, reference = list_and_open(config)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / RECORD).unlink(missing_ok=True)  # of an earlier run in this folder

    if array is not None:
        embedding, reused, reference_embedding = array, True, array
    else:
        assert images is not None
        with stage("embedding"):  # crops through the network, pooled, averaged (Section 3.3)
            embedding, reused, reference_embedding = extract(images, reference, config)

    with stage("distances"):  # inner against outer class, real and random labels (Sections 4, 7)
        real, random, constant = measure_distances(embedding, config, run_dir)

    with stage("calibration"):  # what random labels give each feature, whatever the class sizes
        null = measure_null(embedding, random, config)

    with stage("thresholds"):  # the D beyond which a feature is more than noise (Section 7.1)
        thresholds = choose_thresholds(real, random, embedding, null, config)

    with stage("analysis"):  # distributions by layer, top features by class (Sections 5 to 7)
        features = embedding.feature_table.with_columns(constant=constant)
        names, top_k = embedding.class_names, config.report.top_k
        neutral = statistics.get(config.statistic["name"]).neutral
        found = analyse(
            embedding.images,
            names,
            features,
            real,
            random,
            thresholds,
            top_k,
            neutral,
            null_second_moment=None if null is None else null.second_moment,
        )
        found["top_features"] = add_significance(
            found["top_features"],
            real,
            embedding.labelling.class_sizes,
            embedding.features,
            null,
            embedding.manifest.rows,
        )
        if embedding.network is not None:
            found["network"] = embedding.network

    with stage("detectors"):  # single features as rules, judged on images they were not chosen by
        found["detectors"] = find_detectors(
            embedding, groups=groups(embedding.images), seed=config.seed
        )
    with stage("advice"):  # which layer to use, judged on images that no probe was fitted to
        found["advice"] = give_advice(embedding, config, run_dir)
    write_tables(found, run_dir)

    warnings = () if images is None else images.warnings
    record = make_record(config, warnings, embedding, reused, found, stage)
    if reference_embedding is not embedding:
        record = replace(record, reference_embedding=str(reference_embedding.path))
    with stage("pictures"):  # what each feature answers to (Figures 2, 3, 4, 7)
        unfinished = Run(run_dir, record, found | ({"embedding": embedding} if of_array else {}))
        if images is None:
            count = config.report.pictures_per_feature
            top_images: pl.DataFrame | None = write_top_rows(unfinished, embedding, count)
        else:
            top_images = write_pictures(unfinished, images, reference, reference_embedding, config)

    # With what was counted meanwhile, so that nothing is counted twice.
    finished = Run(run_dir, record, vars(unfinished) | {"top_images": top_images})

    with stage("report"):  # Figures 1, 5, 6, 9, 10, Tables 1 to 3, and the page
        write_report(finished, config.report)

    # A tracker that fails does not harm a finished run, so it comes after the record.
    contents.write(finished)
    record.write(run_dir)
    track(finished, config.logger, sweep=sweep)
    print_summary(finished)
    return finished


def list_and_open(config: Config) -> tuple[LabelledImages, LabelledImages | None]:
    """Return the labelled images, and those that show what features answer to, if any."""
    listing = list_images(config.dataset)
    check_listing(config, listing.classes)
    images = open_images(config.dataset, Path(config.paths.cache), listing)
    check_listing(config, images.class_names)  # less the classes that cannot be read
    return images, open_reference(images, config, reference_dataset(config))


def extract(
    images: LabelledImages, reference: LabelledImages | None, config: Config
) -> tuple[Embedding, bool, Embedding]:
    """Return the embedding, whether it was found, and the embedding of the reference images.

    The latter is the same where the reference images are the run's own, or none are wanted.

    Raises:
        NonZeroRankExit: in a process that srun or torchrun started, on all ranks but rank 0.
    """
    theirs = replace(config, crops=reference_crops(config))
    others = None if config.report.reference_dataset is None else reference
    try:
        embedding, reused = embed(images, config)
    except NonZeroRankExit:
        if others is not None:  # this rank's share of the other embedding, after which it exits too
            embed(others, theirs)
        raise
    return embedding, reused, embedding if others is None else embed(others, theirs)[0]


def measure_distances(
    embedding: Embedding, config: Config, run_dir: Path
) -> tuple[Distances, Distances, NDArray[np.bool_]]:
    """Measure the distances of all features and classes under real and random labels.

    One pass over the embedding serves all labellings.

    Returns:
        (F, C) and (R, F, C), memory maps of ``distances.npy`` and ``distances_random.npy`` in
        `run_dir`; and (F,) whether a feature is constant.
    """
    labels = embedding.labelling
    number, together = config.threshold["permutations"], groups(embedding.images)
    random_labels = labels.permuted(number, config.seed, together)
    shape = (embedding.manifest.features, len(embedding.class_names))
    real = _reserve(run_dir / "distances.npy", shape)
    random = _reserve(run_dir / "distances_random.npy", (len(random_labels), *shape))
    statistic = dict(config.statistic)
    name = statistic.pop("name")
    engine = config.engine
    compute = partial(all_distances, threads=engine.threads)
    if engine.name == "dask":
        compute = partial(on_dask.all_distances, address=engine.address, workers=engine.workers)
    with progress_bar(f"distances ({name})", total=shape[0], unit="features") as bar:
        measured = compute(
            embedding.features,
            np.vstack([labels.codes, random_labels]),
            shape[1],
            statistics.get(name),
            statistic,
            sets=labels.sets,
            out=[real, *random],
            progress=bar.update,
        )
    return real, random, measured.constant


def measure_null(embedding: Embedding, random: Distances, config: Config) -> Null | None:
    """Find the null of the distances as ``calibration`` says; None without one.

    A statistic that cannot be calibrated has none either, which is said in one line.
    """
    method, entry = config.calibration.name, statistics.get(config.statistic["name"])
    if method == "none":
        return None
    if not entry.calibratable:
        log.warning("statistic=%s cannot be calibrated: its distances stay as they are", entry.name)
        return None
    if method == "permutation":
        return pooled_null(
            random,
            embedding.labelling.class_sizes,
            entry,
            config.statistic,
            embedding.manifest.rows,
        )
    return find_null(method, embedding, random, config)


def find_null(method: str, embedding: Embedding, random: Distances, config: Config) -> Null:
    """Find the distribution of the distances under random labels.

    That of ``exact`` needs nothing but the features, and has its second moment from `random`.
    """
    parameters = {key: value for key, value in config.statistic.items() if key != "name"}
    entry = statistics.get(config.statistic["name"])
    if method == "exact":
        sizes, rows = embedding.labelling.class_sizes, embedding.manifest.rows
        moments = second_moment(random, sizes, neutral=entry.neutral, n_images=rows)
        bound = entry.bind(parameters)
        return Null(method, entry.name, bound, moments, features=embedding.features)
    return make_null(
        embedding.features,
        embedding.labelling,
        statistic=entry.name,
        method=method,
        draws=config.calibration.draws,
        seed=config.seed,
        **parameters,
    )


def _reserve(path: Path, shape: tuple[int, ...]) -> Distances:
    """Make a float32 array on disk and take its space now: a disk that fills up later would kill.

    Raises:
        OSError: the disk is full.
    """
    array = open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def choose_thresholds(
    real: Distances, random: Distances, embedding: Embedding, null: Null | None, config: Config
) -> Thresholds:
    """Choose t⁺ and t⁻ by the configured strategy, which may ask for another null than `null`."""

    def wanted(method: str) -> Null:
        if null is not None and null.method == method:
            return null
        return find_null(method, embedding, random, config)

    strategy = dict(config.threshold)
    return find_thresholds(
        real,
        random,
        strategy=strategy.pop("name"),
        statistic=config.statistic["name"],
        class_sizes=embedding.labelling.class_sizes,
        n_images=embedding.manifest.rows,
        find_null=wanted,
        **strategy,
    )


def give_advice(embedding: Embedding, config: Config, run_dir: Path) -> Advice | None:
    """Advise which layer to use, and write it; None where the configuration wants none.

    Nor is there any, which is said in one line, where no class can be held out in part.
    """
    for name in (ADVICE, ADVICE_TABLE):  # of an earlier run in this folder
        (run_dir / name).unlink(missing_ok=True)
    if not config.report.advice:
        return None
    try:
        advice = advise(embedding, images=max(2, config.report.advice), seed=config.seed)
    except DataError as error:
        log.warning("no advice: %s", error)
        return None
    advice.write(run_dir)
    return advice


def write_tables(found: Mapping[str, Any], run_dir: Path) -> None:
    """Write the run's Parquet tables: see "What a run leaves" in the documentation."""
    for name, table in found.items():
        if isinstance(table, pl.DataFrame):
            table.write_parquet(run_dir / f"{name}.parquet")


def make_record(
    config: Config,
    warnings: Sequence[str],
    embedding: Embedding,
    reused: bool,
    found: Mapping[str, Any],
    stage: Stopwatch,
) -> RunRecord:
    """Return the run's record; the times of the stages still to come are added to its `seconds`."""
    plus, *minus = (Kept(**row) for row in found["thresholds"].drop("sign").to_dicts())
    failed = embedding.images.filter(pl.col("status") == "failed").height
    of_array = config.dataset.layout == "array"
    return RunRecord(
        fnx_version=fnx_version(),
        versions=versions(),
        command=redacted(["python", "-m", "fnx", *sys.argv[1:]]),
        started=stage.started.isoformat(timespec="seconds"),
        seed=config.seed,
        dataset=redacted(config.dataset.name),
        model=redacted(config.model.name),
        tap="" if of_array else config.model.tap,
        crops={} if of_array else asdict(config.crops),
        statistic=config.statistic,
        neutral=found["domain"].neutral,
        threshold=config.threshold,
        fingerprint=embedding.manifest.fingerprint,
        embedding=config.dataset.file or "in memory" if of_array else str(embedding.path),
        embedding_reused=reused,
        extraction=embedding.extraction,
        weights_digest=embedding.manifest.inputs["weights"],
        counts=Counts(
            images=embedding.images.height - failed,
            failed=failed,
            classes=len(embedding.class_names),
            features=embedding.manifest.features,
            constant=int(found["features"]["constant"].sum()),
        ),
        thresholds=KeptBySign(plus, *minus),
        seconds=stage.seconds,
        warnings=redacted(list(warnings)),
        config=redacted(asdict(config)),
    )
