"""Exact null of the two-sample Kolmogorov-Smirnov distance under random labels, ties and all."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fnx.statistics.kernels.compilation import cached_njit

Array = Any  # Numba's arrays: their types are the callers'

NEGLIGIBLE = 1e-17  # share of a sum below which its falling terms are left out
TINY = 1e-290  # probabilities below it are 0: numbers without full precision are slow
# A chain of more multiplications than that (10 ms) is not worked out where its value is below the
# other: a bound, at most a few times larger, stands for it.
EXPENSIVE, DECIDED = 2e7, 1e-12


@lru_cache(maxsize=4)
def log_factorials(n: int) -> Array:
    """Return ln 0!, ln 1!, …, ln n! in float64."""
    return np.array([math.lgamma(k + 1) for k in range(n + 1)])


@cached_njit(nogil=True)
def log_binomial(n: int, k: int, log_share: float, log_rest: float, logs: Array) -> float:
    """Return the logarithm of the binomial probability of k among n."""
    return float(
        logs[n] - logs[k] - logs[n - k] + np.float64(k) * log_share + np.float64(n - k) * log_rest
    )


@cached_njit(nogil=True)
def binomial_steps(
    step: Array, n: int, low: int, high: int, log_share: float, log_rest: float, logs: Array
) -> None:
    """Write the binomial probabilities of low … high among n into those places of `step`."""
    mode: Any = min(max(np.int64(np.float64(n + 1) * math.exp(log_share)), low), high)
    odds = math.exp(log_share - log_rest)
    step[mode] = math.exp(log_binomial(n, mode, log_share, log_rest, logs))
    for a in range(mode, high):
        value = step[a] * odds * np.float64(n - a) / np.float64(a + 1)
        step[a + 1] = value if value > TINY else 0.0
    for a in range(mode, low, -1):
        value = step[a] / odds * np.float64(a) / np.float64(n - a + 1)
        step[a - 1] = value if value > TINY else 0.0


@cached_njit(nogil=True)
def bound(groups: Array, size: int, z: int, logs: Array) -> float:
    """Return what `tail` cannot exceed: the sum of P(|D| >= …) at the end of each group alone.

    It stops where the sum passes `DECIDED`.
    """
    total: Any = np.int64(0)
    for group in groups:
        total += group
    scale = logs[total] - logs[size] - logs[total - size]
    found = 0.0
    s = np.int64(0)
    for group in groups:
        s += group
        rest = total - s
        for side in range(2):
            # The j nearest to the bound on this side, then on outwards while it counts.
            j = (s * size - z) // total if side == 0 else -((-s * size - z) // total)
            term = 1.0
            share = 0.0
            if max(0, size - rest) <= j <= min(s, size):
                share = math.exp(
                    logs[s]
                    - logs[j]
                    - logs[s - j]
                    + logs[rest]
                    - logs[size - j]
                    - logs[rest - size + j]
                    - scale
                )
            while share > 0.0 and term > NEGLIGIBLE:
                found += share * term
                if side == 0:
                    if j == 0:
                        break
                    term *= np.float64(j) / np.float64(s - j + 1)
                    term *= np.float64(rest - size + j) / np.float64(size - j + 1)
                    j -= 1
                else:
                    term *= np.float64(s - j) / np.float64(j + 1)
                    term *= np.float64(size - j) / np.float64(rest - size + j + 1)
                    j += 1
        if found > DECIDED:
            break
    return found


@cached_njit(nogil=True)
def tail(groups: Array, size: int, z: int, logs: Array, state: Array) -> float:
    """Return P(|D| >= z / (n (N - n))) under random labels: two-sided, exact.

    `groups` (K,) are the numbers of images that share a value (or a bin), by increasing value; N is
    their sum and n = `size` the images of the class, chosen at random among all. With s images up
    to the end of a group, j of them of the class, D there is (s n - j N) / (n (N - n)).

    j is a hypergeometric chain: a walk of binomial steps with probability n / N each, given that it
    ends at n. Steps are taken group by group; what is at |s n - j N| >= z at the end of a group
    leaves the walk and is summed up, with its probability to end at n. Nothing is subtracted, so
    small values keep their digits. j never falls: groups between whose ends no bound moves that it
    could pass are taken together.

    Of large classes (from about 300 images on) a value below 1e-12 is replaced by `bound`, which is
    larger. `logs` are the `log_factorials` of N or more, `state` (3, n + 1 or more) float64 is
    scratch.

    >>> logs, state = log_factorials(7), np.empty((3, 4))
    >>> round(tail(np.array([4, 1, 1, 1]), 3, 6, logs, state) * 35, 9)  # of C(7, 3) labellings
    15.0
    """
    if z <= 0:
        return 1.0
    total: Any = np.int64(0)
    for group in groups:
        total += group
    width = 2 * np.float64(z) / np.float64(total)
    if width * width * min(groups.size, 2 * size) > EXPENSIVE:
        above = bound(groups, size, z, logs)
        if above < DECIDED:
            return above
    log_share = math.log(size / total)
    log_rest = math.log((total - size) / total)
    scale = log_binomial(total, size, log_share, log_rest, logs)
    now, after, step = state[0], state[1], state[2]
    now[0] = 1.0
    low = high = np.int64(0)  # j that `now` holds
    lower_before = np.int64(0)
    touched = 0.0
    pending = reached = np.int64(0)
    for k in range(groups.size):
        pending += groups[k]
        reached += groups[k]
        # j within the bounds, at this end and at the next.
        lower = max(0, (reached * size - z) // total + 1)
        upper = min(size, -((-reached * size - z) // total) - 1)
        if k + 1 < groups.size and lower == lower_before:
            following = (reached + groups[k + 1]) * size
            if upper == min(size, -((-following - z) // total) - 1):
                continue
        left = total - reached
        first = max(low, size - left)  # j that can be: what is left must still fit
        last = min(size, high + pending)
        least = max(first - high, 0)
        binomial_steps(step, pending, least, min(pending, last - low), log_share, log_rest, logs)
        begin, end = max(first, lower), min(last, upper)
        for j in range(begin, end + 1):
            after[j] = 0.0
        for a in range(max(begin - high, 0), min(pending, end - low) + 1):
            weight = step[a]
            for j in range(max(low, begin - a), min(high, end - a) + 1):
                after[j + a] += weight * now[j]
        # What leaves falls off on both sides, from the bounds on.
        for side in range(2):
            j = max(first, upper + 1) if side == 0 else min(last, lower - 1)
            while first <= j <= last:
                weight = 0.0
                for i in range(max(low, j - pending), min(high, j) + 1):
                    weight += now[i] * step[j - i]
                weight *= math.exp(log_binomial(left, size - j, log_share, log_rest, logs) - scale)
                touched += weight
                if weight <= NEGLIGIBLE * touched:
                    break
                j += 1 if side == 0 else -1
        if end < begin:
            break
        low, high, lower_before = begin, end, lower
        now, after = after, now
        pending = np.int64(0)
    return min(touched, 1.0)


@cached_njit(nogil=True)
def tails(
    groups: Array, sizes: Array, z: Array, order: Array, logs: Array, state: Array, values: Array
) -> None:
    """Write the `tail` of each class in `order`, sorted by size and z (C,), into `values` (C,)."""
    before = np.int64(-1)
    for c in order:
        if before >= 0 and sizes[c] == sizes[before] and z[c] == z[before]:
            values[c] = values[before]
        else:
            values[c] = tail(groups, sizes[c], z[c], logs, state)
        before = c
