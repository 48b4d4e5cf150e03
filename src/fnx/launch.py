"""Which process of how many this is, where srun or torchrun started one program for each device.

Importing this module imports neither torch nor Lightning.
"""

from __future__ import annotations

import os


class OtherRank(Exception):  # noqa: N818 - not an error: this process's part is done
    """Raised where another process, the first rank, goes on with what was extracted."""


def started_elsewhere() -> bool:
    """Whether srun or torchrun started several ranks, each as a program of its own."""
    tasks = os.environ.get("SLURM_NTASKS", "1") if "SLURM_PROCID" in os.environ else "1"
    return int(tasks) > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that goes on after the extraction."""
    if not started_elsewhere():
        return True
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0
