"""The rank of this process, where srun or torchrun started one program per device.

Importing this module imports neither torch nor Lightning.
"""

from __future__ import annotations

import os


class NonZeroRankExit(Exception):  # noqa: N818 - not an error: this process's part is done
    """Raised on all ranks but rank 0 after the extraction; rank 0 goes on alone."""


def is_externally_launched() -> bool:
    """Return whether srun or torchrun started several ranks, each as a program of its own.

    A batch script has SLURM_PROCID and SLURM_NTASKS too, so they tell nothing: SLURM_STEP_NUM_TASKS
    is there only in what srun started.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    return int(tasks) > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_rank_zero() -> bool:
    """Return whether this process is the one that goes on after the extraction."""
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
    return not is_externally_launched() or int(rank) == 0


def set_slurm_tasks_per_node() -> None:
    """Make ``srun -n N`` mean what ``srun --ntasks-per-node=N`` does, which Lightning insists on.

    Where the machines have different numbers of tasks nothing changes, and Lightning refuses it.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    if tasks > 1 and tasks % nodes == 0:
        os.environ["SLURM_NTASKS_PER_NODE"] = str(tasks // nodes)
