"""Tries fnx on the SLURM that is there: srun, sweeps, jobs that are queued again.

    sh docs/slurm/one_machine.sh start
    export SLURM_CONF=/var/tmp/fnx-slurm/slurm.conf
    python docs/slurm/try_it.py FOLDER [TRIAL…]      # an empty folder that all machines see

Each trial extracts a small embedding with an untrained network and compares it, bit by bit, with
that of one process. A line each says what was seen; exit code 1 if anything was not as it should.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fnx

SMALL = (
    "dataset=digits",
    "dataset.limit_per_class=20",
    "model=timm",
    "model.name=resnet10t",
    "model.timm_name=resnet10t.c3_in1k",
    "model.weights.source=random",
    "trainer.num_workers=0",
    "logger=none",
    "report=tables",
)
# Enough work for several shards: ten views of an image, 400 images.
LONG = (*SMALL, "dataset.limit_per_class=40", "crops=ten", "trainer=cpu")
TWO_RANKS = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
SWEEP = ("-m", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30")


class Failed(Exception):  # noqa: N818 - it is what the trial did
    """A trial that did not end as it should."""


def run(outputs: Path, *words: str, before: tuple[str, ...] = ()) -> str:
    """Run fnx, after other words if any; all that it said.

    Raises:
        Failed: another exit code than 0.
    """
    command = [*before, sys.executable, "-m", "fnx", *words, f"paths.outputs={outputs}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        raise Failed(f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def rows(outputs: Path) -> np.ndarray:
    """The features of the one embedding below `outputs`, as bits."""
    (path,) = (outputs / "embeddings").glob("digits-*")
    return np.asarray(fnx.Embedding.open(path).features[:]).view(np.uint32)


def logs(outputs: Path) -> str:
    """What the jobs of a sweep said."""
    files = sorted((outputs / "sweeps").rglob(".submitit/*/*_log.err"))
    return "".join(file.read_text() for file in files)


def check(holds: bool, otherwise: str) -> None:
    """Raise what is `otherwise`.

    Raises:
        Failed: it does not hold.
    """
    if not holds:
        raise Failed(otherwise)


def reference(folder: Path, words: tuple[str, ...]) -> np.ndarray:
    """The features that one process extracts, made once for all trials."""
    outputs = folder / ("one-long" if words == LONG else "one")
    if not outputs.exists():
        run(outputs, *words, "trainer=cpu")
    return rows(outputs)


def srun(folder: Path) -> str:
    """`srun -n 2`: two ranks, one of which goes on after the extraction."""
    run(folder / "srun", *SMALL, *TWO_RANKS, before=("srun", "-n", "2"))
    check(np.array_equal(rows(folder / "srun"), reference(folder, SMALL)), "other bits")
    check(len(list((folder / "srun").rglob("run.json"))) == 1, "not one run")
    return "two ranks of srun leave the bits of one process"


def batch(folder: Path) -> str:
    """A batch script of two tasks that forgets srun: one process, which waits for no other."""
    outputs = folder / "batch"
    words = [sys.executable, "-m", "fnx", *SMALL, "trainer=cpu", f"paths.outputs={outputs}"]
    script = folder / "batch.sh"
    script.write_text("#!/bin/sh\n" + " ".join(words) + "\n")
    command = ["sbatch", "--wait", "-n", "2", f"--output={folder}/batch.log", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    check(done.returncode == 0, (folder / "batch.log").read_text())
    check(np.array_equal(rows(outputs), reference(folder, SMALL)), "other bits")
    return "a batch script without srun runs as one process"


def sweep(folder: Path) -> str:
    """`hydra/launcher=slurm`: two jobs of one embedding, which only one of them extracts."""
    outputs = folder / "sweep"
    run(outputs, *SWEEP, "hydra/launcher=slurm", *SMALL, "trainer=cpu", "statistic=ks,kl")
    check(np.array_equal(rows(outputs), reference(folder, SMALL)), "other bits")
    records = [json.loads(file.read_text()) for file in outputs.rglob("run.json")]
    check(sorted(r["embedding_reused"] for r in records) == [False, True], "not extracted once")
    waited = "which extracts" in logs(outputs)
    return f"two jobs, extracted once; the other {'waited and said so' if waited else 'came later'}"


def sweep_of_ranks(folder: Path) -> str:
    """`hydra/launcher=submitit_slurm` itself, each job with two ranks."""
    outputs = folder / "sweep-of-ranks"
    words = ("hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2")
    run(outputs, *SWEEP, *words, *SMALL, *TWO_RANKS, "statistic=ks,kl")
    check(np.array_equal(rows(outputs), reference(folder, SMALL)), "other bits")
    check(len(list(outputs.rglob("run.json"))) == 2, "not two runs")
    return "two jobs of two ranks each leave the bits of one process"


def refused(folder: Path) -> str:
    """A job whose user made a mistake: the sweep ends with 2 and says which."""
    (folder / "nothing").mkdir(exist_ok=True)
    words = (*SMALL, "trainer=cpu", "dataset=folder", f"dataset.root={folder}/nothing")
    try:
        run(folder / "refused", *SWEEP, "hydra/launcher=slurm", *words)
    except Failed as error:
        check("exit code 2" in str(error) and "no images of any class" in str(error), str(error))
        return "a mistake in a job ends the sweep with 2 and its line"
    raise Failed("a data set without images was taken")


def queued_again(folder: Path) -> str:
    """The signal that SLURM sends before a job's time is over: the job goes on where it stopped."""
    outputs = folder / "queued-again"
    words = (*SWEEP, "hydra/launcher=slurm", *LONG, "statistic=ks", f"paths.outputs={outputs}")
    command = [sys.executable, "-m", "fnx", *words]
    with (folder / "queued-again.log").open("w") as said:
        sweep = subprocess.Popen(command, stdout=said, stderr=said)
        wait_for(lambda: any((outputs / "embeddings").glob("*/shards/*.json")), 600)
        (job,) = {path.name.split("_")[0] for path in outputs.rglob(".submitit/[0-9]*")}
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
        code = sweep.wait(1800)
    check(code == 0, f"exit code {code}: {logs(outputs)}")
    text = logs(outputs)
    check("Caught signal SIGUSR2" in text, text)
    check(np.array_equal(rows(outputs), reference(folder, LONG)), "other bits")
    left = re.search(r"going on: (\d+) of (\d+) shards are left", text)
    said_so = f"with {left[1]} of {left[2]} shards left" if left else "which held one shard only"
    return f"a job whose time was over was queued again and went on {said_so}: the same bits"


def wait_for(event: Callable[[], bool], seconds: float) -> None:
    """Wait until it has happened.

    Raises:
        Failed: it has not.
    """
    end = time.monotonic() + seconds
    while not event():
        check(time.monotonic() < end, "what was waited for has not come")
        time.sleep(0.2)


TRIALS = (srun, batch, sweep, sweep_of_ranks, refused, queued_again)


def main(folder: Path, names: list[str]) -> int:
    """Run the trials; how many failed."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for trial in TRIALS:
        if names and trial.__name__ not in names:
            continue
        start = time.monotonic()
        try:
            said = f"ok      {trial.__name__}: {trial(folder)}"
        except Failed as error:
            failed += 1
            said = f"FAILED  {trial.__name__}: {error}"
        print(f"{said} ({time.monotonic() - start:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(Path(sys.argv[1]), sys.argv[2:])))
