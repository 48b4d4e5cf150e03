"""Copies columns of a row-major block into contiguous memory, 16 × 16 values at a time."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

cgutils: Any = untyped_cgutils
SIDE = 16  # with float32, one cache line of each row
Array = Any  # Numba's arrays: their types are the callers'


def _transpose_square(typing_context: Any, block: Any, i: Any, j: Any, columns: Any) -> Any:
    """columns[:SIDE, i:i + SIDE] = block[i:i + SIDE, j:j + SIDE].T, held in vector registers.

    Numba makes single loads and stores of such a loop, which takes as long as all the rest of the
    binned KS; the shuffles below take a tenth of that.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block_type, _, _, columns_type = signature.args
        source = context.make_array(block_type)(context, builder, arguments[0])
        target = context.make_array(columns_type)(context, builder, arguments[3])
        row, column = arguments[1], arguments[2]
        size = context.get_abi_sizeof(context.get_data_type(block_type.dtype))
        vector = ir.VectorType(context.get_data_type(block_type.dtype), SIDE)

        def place(array: Any, kind: Any, first: Any, second: Any) -> Any:
            pointer = cgutils.get_item_pointer(
                context, builder, kind, array, [first, second], wraparound=False
            )
            return builder.bitcast(pointer, vector.as_pointer())

        lines = []
        for k in range(SIDE):
            at = builder.add(row, row.type(k))
            lines.append(builder.load(place(source, block_type, at, column), align=size))
        step = SIDE // 2
        while step:  # exchange the off-diagonal quarters of every 2·step × 2·step square
            upper = [lane if not lane & step else SIDE + lane - step for lane in range(SIDE)]
            lower = [lane + step if not lane & step else SIDE + lane for lane in range(SIDE)]
            for k in range(SIDE):
                if not k & step:
                    pair = lines[k], lines[k + step]
                    for at, lanes in ((k, upper), (k + step, lower)):
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), lanes)
                        lines[at] = builder.shuffle_vector(*pair, mask)
            step //= 2
        for k, line in enumerate(lines):
            builder.store(line, place(target, columns_type, row.type(k), row), align=size)
        return context.get_dummy_value()

    return types.void(block, types.intp, types.intp, columns), generate


transpose_square: Any = intrinsic(_transpose_square)


@njit(nogil=True, cache=True)
def transpose(block: Array, tile: Array) -> None:
    """Copy the columns of `block` into the rows of `tile`.

    Args:
        block: (N, width), the values of a row side by side in memory.
        tile: (width or more, N or more) of the same type, C order.
    """
    n, width = block.shape
    squares, whole = n - n % SIDE, width - width % SIDE
    for i in range(0, squares, SIDE):
        for j in range(0, whole, SIDE):
            transpose_square(block, i, j, tile[j:])
    for j in range(whole, width):
        for i in range(squares):
            tile[j, i] = block[i, j]
    for i in range(squares, n):
        for j in range(width):
            tile[j, i] = block[i, j]
