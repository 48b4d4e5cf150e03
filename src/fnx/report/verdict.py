"""What a run says about its classes in a sentence or two, and no more than it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnx.analysis.summary import Summary

if TYPE_CHECKING:
    from fnx.analysis.advice import Advice

_TRACES = ((25.0, "clear"), (8.0, "noticeable"), (2.0, "faint"))
"""Words for what is kept beyond chance, in percent of the features: aids for reading, no tests."""

CLEARLY = 2  # standard errors that two accuracies must differ by


def traces(found: Summary) -> str | None:
    """Return a word for the traces that the classes leave; None where chance leaves as much."""
    return next((word for least, word in _TRACES if found.signal >= least), None)


def verdict(found: Summary, advice: Advice | None = None) -> tuple[str, str]:
    """Say how well the features tell the classes apart, or what traces these leave.

    With advice, accuracy is compared with chance and, where that was measured, with an untrained
    network of the same architecture. Without, only traces are known, which say nothing about
    accuracy: untrained networks have them too.

    Returns:
        The verdict, and what it must be read with.
    """
    if advice is None:
        return _of_traces(found)
    chance = f"chance gives {share(advice.chance)}"
    row = advice.advised
    if row is None:
        return (
            f"No layer tells these classes apart better than chance ({share(advice.chance)}).",
            "",
        )
    told = (
        f"A linear probe of {row['entry']} tells these classes apart"
        f" with {share(row['accuracy'])} {advice.measure}"
    )
    if advice.untrained is None:
        return f"{told}; {chance}.", ""
    beyond = row["accuracy"] - advice.untrained
    if beyond <= CLEARLY * row["standard_error"]:
        return (
            f"{told}; {chance}.",
            f"An untrained network of the same architecture reaches {share(advice.untrained)}: what"
            " was learned does not help here.",
        )
    return f"{told}; {chance}, an untrained network {share(advice.untrained)}.", ""


def _of_traces(found: Summary) -> tuple[str, str]:
    word = traces(found)
    if word is None:
        return (
            "These classes leave hardly more traces in the features than chance.",
            "More examples per class, other layers or another network may tell more.",
        )
    return (
        f"These classes leave {word} traces: of all features, {found.signal:.0f} % are kept for an"
        " average class beyond what random labels keep.",
        "That is no accuracy: untrained networks show traces too.",
    )


def share(value: float) -> str:
    """Write a share in percent, with a decimal where it is close to one of the ends.

    >>> share(0.964), share(0.1), share(0.9987), share(1.0)
    ('96 %', '10 %', '99.9 %', '100 %')
    """
    percent = 100 * value
    return f"{percent:.{1 if 99 <= percent < 100 or 0 < percent < 1 else 0}f} %"
