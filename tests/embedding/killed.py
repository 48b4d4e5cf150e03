"""Kills extractions at random moments; a script, so that what is killed is a fork without threads.

python killed.py FOLDER SEED MOMENTS WORD… prints one JSON line a moment, the first undisturbed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from fnx.backbones import backbone  # noqa: F401 - what every child needs is imported once
from fnx.config.compose import compose
from fnx.embedding import Embedding, embed, extraction, store
from fnx.images import open_images

ROWS_PER_SHARD = 8


def child(outputs: Path, words: list[str], written: Path) -> None:
    """Extract, and note each shard that is written."""
    extraction._rows_per_shard = lambda *_: ROWS_PER_SHARD  # type: ignore[assignment]
    write = store.write_shard

    def noting(path: Path, manifest: object, shard: int, *blocks: object) -> None:
        write(path, manifest, shard, *blocks)  # type: ignore[arg-type]
        with written.open("a") as file:
            file.write(f"{shard}\n")

    store.write_shard = noting  # type: ignore[assignment]
    config = compose([f"paths.outputs={outputs}", *words])
    embed(open_images(config.dataset, outputs), config)


def run(outputs: Path, words: list[str], kill_after: float | None = None) -> list[int]:
    """One extraction in a fork, killed after so many seconds; the shards that it wrote."""
    written = outputs.with_suffix(".written")
    written.write_text("")
    process = os.fork()
    if process == 0:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        code = 1
        try:
            child(outputs, words, written)
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if kill_after is None and status != 0:
        raise SystemExit(f"an undisturbed run ended with {status}")
    return [int(line) for line in written.read_text().split()]


def main(folder: Path, seed: int, moments: int, words: list[str]) -> None:
    """Print what each moment lost."""
    chance = random.Random(seed)
    start = time.perf_counter()
    shards = run(folder / "undisturbed", words)
    lasted = time.perf_counter() - start
    (path,) = (folder / "undisturbed/embeddings").glob("digits-*")
    whole = Embedding.open(path).manifest
    print(json.dumps({"shards": shards, "digests": [whole.shards, whole.positions]}), flush=True)
    for _ in range(moments):
        outputs = folder / "killed"
        shutil.rmtree(outputs, ignore_errors=True)
        moment = chance.uniform(0.05, 1.0) * lasted
        before = run(outputs, words, kill_after=moment)
        after = run(outputs, words)
        (path,) = (outputs / "embeddings").glob("digits-*")
        found = Embedding.open(path).manifest
        again = sorted(set(before) & set(after))
        print(
            json.dumps(
                {"moment": moment, "before": before, "after": after, "again": again}
                | {"identical": found == whole}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
