"""fnx on a real SLURM of one machine, started for the test and stopped after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs/slurm"


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which srun and sbatch work; skips where no SLURM can be started."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "srun"))):
        pytest.skip("slurmctld, slurmd, slurm-client and munge are not installed")
    if os.geteuid() != 0:
        pytest.skip("only root can start a SLURM")
    if subprocess.run(["pgrep", "-x", "slurmctld"], capture_output=True, check=False).stdout:
        pytest.skip("a SLURM runs on this machine already")
    environment = {**os.environ, "FNX_SLURM": str(tmp_path / "slurm")}
    environment["SLURM_CONF"] = str(tmp_path / "slurm/slurm.conf")

    def one_machine(word: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(DOCS / "one_machine.sh"), word]
        return subprocess.run(command, env=environment, check=False, text=True, timeout=120)

    try:
        assert one_machine("start").returncode == 0
        yield environment
    finally:
        one_machine("stop")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_trial_on_a_real_slurm_ends_as_it_should(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "try_it.py"), str(tmp_path / "shared")],
        env=slurm,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 6, done.stdout
