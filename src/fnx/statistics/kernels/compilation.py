"""Compiles with Numba, whose cache on disk is used where it can be, and never fails a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.errors import NumbaWarning

from fnx.utils.files import digest

F = TypeVar("F", bound=Callable[..., Any])

# Of a part that sorts in NumPy, on purpose; said at every start where nothing is kept on disk.
warnings.filterwarnings("ignore", "Code running in object mode", NumbaWarning)


def cached_njit(signatures: Sequence[Any] = (), **options: Any) -> Callable[[F], F]:
    """Compile a function as `numba.njit` does, and keep its machine code on disk where that goes.

    It is kept beside the function's file or in the user's cache. Where neither can be written, for
    which Numba has an error, each process compiles it again; where what is kept is damaged, it is
    made again.

    Args:
        signatures: of the arguments; without them, a function is compiled when it is called.
        **options: as `numba.njit` takes them.
    """

    def compile_function(function: F) -> F:
        dispatcher: Any = numba.njit(**options)(function)
        with suppress(RuntimeError, OSError):  # no folder that can be written
            dispatcher._cache = _Cache(function)
        for signature in signatures:
            dispatcher.compile(signature)
        if signatures:
            dispatcher.disable_compile()
        return dispatcher  # type: ignore[no-any-return]

    return compile_function


@cache
def _sources() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return digest(file.read_bytes() for file in files)


class _Cache(FunctionCache):
    """Numba's cache of a function; files that are cut off and full disks fail nothing.

    What is kept has in it the functions that were called, so it counts while none of the kernels'
    files changes; Numba looks at the function's own file alone.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        own = self._impl.locator.get_source_stamp()
        self._cache_file = IndexDataCacheFile(
            self._cache_path, self._impl.filename_base, (own, _sources())
        )  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with suppress(Exception):  # whatever pickle makes of half a file
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        with suppress(OSError):
            self.flush()  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
