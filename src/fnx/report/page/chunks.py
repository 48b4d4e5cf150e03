"""Numbers as scripts: without a server, a page can read nothing else from the disk."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_TYPES = {"f4": np.float32, "f8": np.float64, "i4": np.int32, "u1": np.uint8, "u2": np.uint16}


def packed(values: ArrayLike, kind: str) -> dict[str, Any]:
    """Encode an array as base64 of its bytes, so that the page has exactly these numbers.

    Args:
        values: of any shape; the page gets them flat, in C order.
        kind: "f4", "f8", "i4", "u1" or "u2", little-endian.

    >>> packed([1.0, -1.0], "f4")
    {'$': 'f4', 'b64': 'AACAPwAAgL8='}
    """
    array = np.ascontiguousarray(values, dtype=np.dtype(_TYPES[kind]).newbyteorder("<"))
    return {"$": kind, "b64": base64.b64encode(array.tobytes()).decode("ascii")}


def script_json(value: Any) -> str:
    r"""Return JSON that neither ends a script element nor breaks a line of JavaScript.

    >>> script_json({"name": "</script>\u2028"})
    '{"name":"\\u003c/script\\u003e\\u2028"}'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def write_chunk(folder: Path, name: str, value: Mapping[str, Any]) -> Path:
    """Write ``<name>.js``, which hands its value to the page that loads it."""
    path = folder / f"{name}.js"
    path.write_text(f"fnxData({script_json(name)},{script_json(value)});\n", encoding="ascii")
    return path
