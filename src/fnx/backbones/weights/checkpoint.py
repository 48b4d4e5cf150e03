"""Checkpoints of torch.save, read without executing anything: only tensors are made of them.

A pickle is a program that names classes and functions and calls them. Here it finds none: the four
that rebuild a tensor are this module's own, and whatever else stands beside the weights (arguments,
NumPy scalars, paths, dates, a configuration) becomes an `Inert`, which takes all and does nothing.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fnx.errors import reason

if TYPE_CHECKING:
    from torch import Tensor

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "UntypedStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_LARGEST_PICKLE = 100_000_000  # without the tensors: seconds, where networks have kilobytes
_LARGEST_VIEW = 1 << 20  # values of a tensor that has more of them than its storage
_MAGIC = 0x1950A86A20F9469CFC6C  # begins files of torch before 1.6, which are no zip archives


class Inert(dict[str, Any]):
    """Stands for all that a checkpoint holds but tensors, lists and numbers; keeps named items."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Make one of whatever a pickle says: `cls` may be what stands for a class, an Inert."""
        return dict.__new__(Inert)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __call__(self, *_: Any, **__: Any) -> Inert:
        """Return what stands for a result."""
        return Inert()

    def __setitem__(self, key: Any, value: Any) -> None:
        # Only texts are hashed: a tuple that holds another twice, and so on, would take for ever.
        if isinstance(key, str):
            super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Inert):
            self.update(state)

    def append(self, _: Any) -> None:
        """Take an item of a list or a set."""

    add = extend = append


def read_checkpoint(path: Path) -> Any:
    """Return what torch.save wrote: tensors, lists, numbers, and an `Inert` for all the rest.

    Raises:
        ValueError: a damaged file, one that is larger unpacked, TorchScript, or no checkpoint.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(file, size) if is_zip else _read_old(file, size)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a damaged pickle fails in any way
        raise ValueError(f"it is damaged or not of torch.save ({reason(error)})") from error


def _read_zip(file: IO[bytes], size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickled = next((name for name in names if name.rpartition("/")[2] == "data.pkl"), None)
        if pickled is None:
            raise ValueError("it is a zip archive, but not of torch.save")
        base = pickled.removesuffix("data.pkl")
        if f"{base}constants.pkl" in names:
            raise ValueError(
                "it is TorchScript, a program: save the network's state_dict() instead"
            )
        if sum(member.file_size for member in archive.infolist()) > size:
            raise ValueError("it is compressed or damaged: it holds more than its own size")
        order = f"{base}byteorder"
        if order in names and archive.read(order) != sys.byteorder.encode():
            raise ValueError("it was written on a machine of another byte order")
        if archive.getinfo(pickled).file_size > _LARGEST_PICKLE:
            raise ValueError(f"its pickle is larger than {_LARGEST_PICKLE:,} bytes")
        storages: dict[str, Tensor] = {}

        def storage(kind: Any, key: str, _: Any, count: int, *__: Any) -> Tensor:
            if key not in storages:
                storages[key] = _tensor(archive.read(f"{base}data/{key}"), kind, count)
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(pickled)), storage).load()


def _read_old(file: IO[bytes], size: int) -> Any:
    """Read a file of torch before 1.6: pickles one after the other, then the storages' bytes."""
    import torch

    storages: dict[str, Tensor] = {}

    def storage(kind: Any, key: str, _: Any, count: int, *views: Any) -> Tensor:
        if views != (None,) or not 0 <= count * kind.itemsize <= size:
            raise ValueError("it is damaged, or of a version of torch that is too old")
        return storages.setdefault(key, torch.empty(count, dtype=kind))

    def following() -> Any:
        return _Unpickler(file, storage).load()

    if following() != _MAGIC:
        raise ValueError("it is a pickle, but not of torch.save")
    following()  # the format's version
    if following()["little_endian"] != (sys.byteorder == "little"):
        raise ValueError("it was written on a machine of another byte order")
    content, keys = following(), following()
    if set(keys) != storages.keys():
        raise ValueError("it is damaged: its list of tensors is another than they are")
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        values = storages[key]
        if count != len(values):
            raise ValueError("it is damaged: a tensor is of another size than it says")
        values.copy_(_tensor(file.read(values.nbytes), values.dtype, count))
    return content


def _tensor(content: bytes, kind: Any, count: int) -> Tensor:
    """Return a storage's bytes as a flat tensor of `count` values."""
    import torch

    if len(content) != count * kind.itemsize:
        raise ValueError(
            f"it is damaged: {len(content):,} bytes where a tensor needs {count * kind.itemsize:,}"
        )
    return torch.frombuffer(bytearray(content), dtype=kind) if content else torch.empty(0)


def _rebuilt(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Any:
    """Return the tensor that is a view of its storage; what else is known of it is left out."""
    import torch

    if not isinstance(storage, torch.Tensor):  # of a kind that no network here is made of
        return storage
    if math.prod(size) > max(len(storage), _LARGEST_VIEW):
        raise ValueError("it is damaged: a tensor has more values than are stored")
    kinds = [item for item in rest if isinstance(item, torch.dtype)]  # of kinds without a storage
    return storage.view(*kinds or [storage.dtype]).as_strided(size, stride, offset)


def _first(tensor: Tensor, *_: Any) -> Tensor:
    """Return a parameter's tensor."""
    return tensor


def _of_type(rebuild: Callable[..., Any], _: Any, arguments: Any, *__: Any) -> Any:
    """Return a tensor of a class of its own, or with attributes, as a plain one."""
    return rebuild(*arguments)


_REBUILDING: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_tensor_v3": _rebuilt,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _of_type,
}


# Python's parser in Python: the one in C takes memory for 2³¹ objects if one byte is wrong.
_Parser: Any = pickle._Unpickler


class _Unpickler(_Parser):  # type: ignore[misc]
    """Reads a pickle in which every container but lists and tuples, and every name, is inert."""

    def __init__(self, file: IO[bytes], storage: Callable[..., Tensor]) -> None:
        super().__init__(file, encoding="latin-1")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a class or a function: nothing is imported."""
        import torch

        if name in _STORAGES and module in ("torch", "torch.storage"):
            return getattr(torch, _STORAGES[name])
        kind = vars(torch).get(name) if module == "torch" else None
        if isinstance(kind, torch.dtype):
            return kind
        return _REBUILDING.get(f"{module}.{name}") or Inert()

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage that a tensor is a view of, or what stands for another thing."""
        is_storage = pid[0] == "storage" and not isinstance(pid[1], Inert)
        return self.storage(*pid[1:]) if is_storage else pid[1]

    def load_build(self) -> None:
        """Give an object its state, if it is inert: functions and tensors stay as they are."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].__setstate__(state)

    def load_empty(self) -> None:
        """Begin a dictionary or a set."""
        self.append(Inert())

    def load_items(self) -> None:
        """Make a dictionary at once, as old pickles do."""
        items, made = self.pop_mark(), Inert()
        for key, value in zip(items[::2], items[1::2], strict=True):
            made[key] = value
        self.append(made)

    def load_frozenset(self) -> None:
        """Make a set that cannot be changed."""
        self.pop_mark()
        self.append(Inert())

    dispatch = _Parser.dispatch | {
        pickle.BUILD[0]: load_build,
        pickle.EMPTY_DICT[0]: load_empty,
        pickle.EMPTY_SET[0]: load_empty,
        pickle.DICT[0]: load_items,
        pickle.FROZENSET[0]: load_frozenset,
    }
