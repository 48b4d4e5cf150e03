"""The engine: any array, many labellings, threads, and what it refuses."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zarr

import fnx
from fnx.errors import ConfigError, DataError, PluginError
from fnx.registry import load_installed, statistics
from fnx.statistics.api import encode
from fnx.statistics.columns import open_columns
from fnx.statistics.engine import all_distances
from fnx.statistics.permutations import permutations
from fnx.statistics.tiles import group

load_installed()


class Chunked:
    """An array of which only shape, type and chunks are known."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, int], chunks: tuple[Any, ...]) -> None:
        self.shape, self.chunks = shape, chunks


STATISTICS = ["ks", "ks_exact"]


@pytest.fixture(scope="module")
def values() -> np.ndarray[Any, np.dtype[np.float32]]:
    """150 features, so three blocks, the last one narrow and not a multiple of a tile."""
    return np.maximum(np.random.default_rng(0).normal(size=(90, 150)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def labels() -> np.ndarray[Any, np.dtype[np.int32]]:
    return (np.arange(90) % 7).astype(np.int32)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_every_memory_order_and_kind_of_array_gives_the_same(
    statistic: str, values: Any, labels: Any, tmp_path: Path
) -> None:
    expected = fnx.distances(values, labels, statistic=statistic)
    np.save(tmp_path / "values.npy", values)
    stored = zarr.create_array(
        tmp_path / "v.zarr", shape=values.shape, dtype="f4", chunks=(30, 64), shards=(90, 192)
    )
    stored[:] = values
    wide = np.zeros((180, 300), dtype=np.float32)
    wide[::2, ::2] = values
    readonly = values.copy()
    readonly.flags.writeable = False
    for same in (
        np.asfortranarray(values),
        wide[::2, ::2],
        readonly,
        values.astype(">f4"),
        np.load(tmp_path / "values.npy", mmap_mode="r"),
        stored,
        values.tolist(),
    ):
        np.testing.assert_array_equal(fnx.distances(same, labels, statistic=statistic), expected)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint16", "int64", "bool"])
def test_every_real_type_is_taken_without_loss(statistic: str, dtype: str, labels: Any) -> None:
    few = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 100, size=(90, 5))
    np.testing.assert_array_equal(
        fnx.distances(few.astype(dtype), labels, statistic=statistic),
        fnx.distances(few.astype(np.float32), labels, statistic=statistic),
    )


def test_float64_is_not_rounded_to_float32(labels: Any) -> None:
    fine = 1 + np.arange(90.0)[:, None] * 1e-12
    expected = fnx.distances(np.arange(90.0)[:, None], labels, statistic="ks_exact")
    np.testing.assert_array_equal(fnx.distances(fine, labels, statistic="ks_exact"), expected)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_threads_do_not_change_a_bit(statistic: str, values: Any, labels: Any) -> None:
    labellings = np.stack([labels, *permutations(labels, 3, seed=1)])
    one, many = (
        all_distances(values, labellings, 7, statistics.get(statistic), threads=t).values
        for t in (1, 5)
    )
    np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_many_labellings_at_once_are_each_one_alone(
    statistic: str, values: Any, labels: Any
) -> None:
    labellings = np.stack([labels, *permutations(labels, 3, seed=2), labels[::-1] * 0 + labels % 3])
    labellings[-1, :4] = [3, 4, 5, 6]  # other class sizes too
    together = all_distances(values, labellings, 7, statistics.get(statistic)).values
    for k, labelling in enumerate(labellings):
        np.testing.assert_array_equal(
            together[k], fnx.distances(values, labelling, statistic=statistic)
        )


@pytest.mark.parametrize("statistic", STATISTICS)
def test_more_images_than_sixteen_bits_count(statistic: str) -> None:
    rng = np.random.default_rng(3)
    few = rng.integers(0, 40, size=(700, 2)).astype(np.float32)
    few_labels = rng.integers(0, 3, size=700)
    np.testing.assert_array_equal(  # each image a hundred times: the same distributions
        fnx.distances(np.tile(few, (100, 1)), np.tile(few_labels, 100), statistic=statistic),
        fnx.distances(few, few_labels, statistic=statistic),
    )


@pytest.mark.parametrize("statistic", STATISTICS)
def test_as_many_classes_as_images(statistic: str) -> None:
    values = np.arange(3000.0)[:, None]
    found = fnx.distances(
        values,
        np.arange(3000),
        statistic=statistic,
        **({"bins": 3000} if statistic == "ks" else {}),
    )[0]
    rank = np.arange(3000)
    above, below = rank / 2999, (2999 - rank) / 2999
    np.testing.assert_allclose(found, np.where(above >= below, above, -below), atol=1e-6)


def test_results_go_where_asked_with_progress_and_constant_features(
    values: Any, labels: Any, tmp_path: Path
) -> None:
    values = values.copy()
    values[:, [3, 149]] = 2
    labellings = np.stack([labels, *permutations(labels, 1, seed=1)])
    out = [
        np.lib.format.open_memmap(tmp_path / f"{k}.npy", "w+", np.float32, (150, 7))
        for k in range(2)
    ]
    steps: list[int] = []
    found = all_distances(
        values, labellings, 7, statistics.get("ks"), out=out, progress=steps.append
    )
    assert sum(steps) == 150
    assert np.flatnonzero(found.constant).tolist() == [3, 149]
    np.testing.assert_array_equal(out[0], fnx.distances(values, labels))


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(
    statistic: str, bad: float, values: Any, labels: Any
) -> None:
    values = values.copy()
    values[41, 70] = values[80, 140] = bad
    with pytest.raises(DataError, match=f"feature 70 of image 41 is {bad}"):
        fnx.distances(values, labels, statistic=statistic)


def test_largest_and_smallest_numbers() -> None:
    tiny = np.array([[0.0], [5e-324], [1e-323], [1.5e-323]])
    np.testing.assert_array_equal(fnx.distances(tiny, [0, 0, 1, 1]), [[-1, 1]])
    huge = np.array([[-3e38], [-3e38], [3e38], [3e38]], dtype=np.float32)
    np.testing.assert_array_equal(fnx.distances(huge, [0, 0, 1, 1]), [[-1, 1]])
    with pytest.raises(DataError, match="feature 0: the range of its values overflows"):
        fnx.distances(np.array([[-1.7e308], [1.7e308]]), [0, 1])


@pytest.mark.parametrize("dtype", [bool, "i1", "u8", "U1", "S1", object, np.dtypes.StringDType()])
def test_labels_may_be_of_many_types(dtype: Any) -> None:
    kind = np.dtype(dtype).kind
    labels = np.array(["b", "a", "a"] if kind in "USOT" else [1, 0, 0]).astype(dtype)
    codes, classes = encode(labels)
    assert (codes.tolist(), codes.dtype, classes) == ([1, 0, 0], np.int32, 2)


def test_labels_may_be_any_integers_or_strings(values: Any, labels: Any) -> None:
    expected = fnx.distances(values, labels)
    names = np.array(["ant", "bee", "cat", "dog", "elk", "fox", "gnu"])
    for same in (labels * 10 - 7, labels.astype(np.uint8), names[labels], list(names[labels])):
        np.testing.assert_array_equal(fnx.distances(values, same), expected)


WORDS = [f"{i % 3}-word" for i in range(90)]


def one_missing(value: Any, labels: Any = WORDS) -> list[Any]:
    """Labels of which the fifth is missing."""
    return [*labels[:4], value, *labels[5:]]


def masked(values: Any, *places: Any) -> Any:
    """An array with masked places, and values there that must not be read."""
    array = np.ma.masked_array(values)
    for place in places:
        array[place] = np.ma.masked
    return array


@pytest.mark.filterwarnings("ignore:the matrix subclass")  # numpy.asmatrix asks for it
@pytest.mark.parametrize("name", ["dask", "sparse", "torch", "grad", "bfloat16", "polars", "pandas",
                                  "Float32", "objects", "h5py", "unmasked", "matrix"])  # fmt: skip
def test_arrays_of_any_library_give_the_same(
    name: str, values: Any, labels: Any, tmp_path: Path
) -> None:
    few = np.round(values[:, :5] * 16) / 16  # what bfloat16 holds
    expected = fnx.distances(few, labels)
    torch, pandas = import_module("torch"), import_module("pandas")
    made: dict[str, Any] = {
        "torch": lambda: torch.tensor(few),
        "grad": lambda: torch.tensor(few, requires_grad=True),
        "bfloat16": lambda: torch.tensor(few).bfloat16(),
        "polars": lambda: pl.DataFrame(few),
        "pandas": lambda: pandas.DataFrame(few),
        "Float32": lambda: pandas.DataFrame(few).convert_dtypes(),
        "objects": lambda: few.astype(object),
        "unmasked": lambda: masked(few),
        "matrix": lambda: np.asmatrix(few),
        "sparse": lambda: import_module("scipy.sparse").coo_array(few),
    }
    if name in made:
        same = made[name]()
    elif name == "dask":
        arrays = import_module("dask.array")
        rows = arrays.from_array(few, chunks=(7, 2))
        same = rows[arrays.ones(90, dtype=bool, chunks=7)]  # of unknown length
    else:
        file = import_module("h5py").File(tmp_path / "f.h5", "w")
        same = file.create_dataset("f", data=few, chunks=(10, 2))
    np.testing.assert_array_equal(fnx.distances(same, labels), expected)


def test_a_block_is_as_wide_as_the_widest_chunk_within_limits() -> None:
    def width(*chunks: Any) -> int:
        return open_columns(Chunked((90, 5000), chunks)).width

    assert [width((90,), (c,)) for c in (1, 64, 65, 512, 513)] == [64, 64, 65, 512, 512]
    assert [width(90, c) for c in (1, 64, 65, 512, 513)] == [64, 64, 65, 512, 512]
    assert width((45, 45), (70, 200, 30)) == 200


@pytest.mark.parametrize(
    "same",
    [
        [np.str_(word) for word in WORDS],
        np.array(WORDS, dtype=object),
        np.array(WORDS, dtype="S"),
        np.array(WORDS, dtype=np.dtypes.StringDType()),
        [word.encode() for word in WORDS],
        masked(WORDS),
        pl.Series(WORDS),
        pl.Series(WORDS, dtype=pl.Categorical),
        [int(word[0]) for word in WORDS],
        [np.int16(word[0]) for word in WORDS],
        np.array([int(word[0]) for word in WORDS], dtype=object),
        [2**40 * int(word[0]) for word in WORDS],
    ],
)
def test_labels_are_texts_or_integers_of_any_library(values: Any, same: Any) -> None:
    expected = fnx.distances(values[:, :3], np.array(WORDS))
    np.testing.assert_array_equal(fnx.distances(values[:, :3], same), expected)


def test_labels_may_be_truth_values(values: Any) -> None:
    truth = np.arange(90) % 2 == 0
    expected = fnx.distances(values[:, :3], truth.astype(int))
    for same in (truth, truth.tolist(), truth.astype(object), list(truth)):
        np.testing.assert_array_equal(fnx.distances(values[:, :3], same), expected)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (one_missing(None), "None"),
        (one_missing(float("nan")), "nan"),
        (one_missing(np.float32("nan")), "nan"),
        (one_missing(""), "''"),
        (one_missing("  "), "'  '"),
        (one_missing(b"", [word.encode() for word in WORDS]), "b''"),
        (one_missing(np.datetime64("NaT")), "NaT"),
        (one_missing(float("nan"), range(90)), "nan"),
        (np.array(one_missing(float("nan"), range(90))), "nan"),
        (np.array(one_missing("NaT", ["2020"] * 90), dtype="M8[Y]"), "None"),
        (np.array(one_missing(None), dtype=object), "None"),
        (np.array(one_missing(None), dtype=np.dtypes.StringDType(na_object=None)), "None"),
        (pl.Series(one_missing(None)), "None"),
        (pl.Series(one_missing(None, range(90))), "nan"),
        (pl.Series(one_missing(None), dtype=pl.Categorical), "None"),
    ],
)
def test_a_missing_label_is_never_a_class(values: Any, labels: Any, shown: str) -> None:
    message = rf"^labels: 1 of 90 values are missing, the first \(.*{shown}.*\) at 4: leave "
    with pytest.raises(DataError, match=message):
        fnx.distances(values, labels)


def test_a_missing_label_of_pandas_is_never_a_class(values: Any) -> None:
    pandas = import_module("pandas")
    for missing in (pandas.NA, pandas.NaT, None):
        for labels in (
            one_missing(missing),
            pandas.Series(one_missing(missing)),
            pandas.Series(one_missing(missing), dtype="category"),
        ):
            with pytest.raises(DataError, match=r"^labels: 1 of 90 values are missing"):
                fnx.distances(values, labels)
    numbers = pandas.Series(one_missing(None, range(90)), dtype="Int64")
    with pytest.raises(DataError, match=r"^labels: 1 of 90 values are missing"):
        fnx.distances(values, numbers)


def test_missing_labels_that_numpy_made_text_are_known_by_their_width(values: Any) -> None:
    coerced = np.array(one_missing(float("nan")))
    assert coerced[4] == "nan"
    with pytest.raises(DataError, match=r"^labels: NaN is among them, which NumPy made the text"):
        fnx.distances(values, coerced)
    for text in (np.array(one_missing("nan")), one_missing("nan"), one_missing("w" * 32)):
        assert fnx.distances(values, text).shape == (150, 4)  # a bread
    wide = np.array([*one_missing("nan")[:-1], "w" * 32])
    assert fnx.distances(values, wide).shape == (150, 5)
    with pytest.raises(DataError, match=r"^labels: some are empty: "):
        fnx.distances(values, np.array(one_missing("")))


@pytest.mark.parametrize(
    ("place", "shown"), [((3, 1), "in row 3, column 1"), ((0, 0), "in row 0, column 0")]
)
def test_missing_values_are_not_read_whatever_lies_behind_them(
    values: Any, labels: Any, place: Any, shown: str
) -> None:
    holes = masked(values.copy(), place)
    objects = values.astype(object)
    objects[place] = None
    nested = objects.tolist()
    for features, what in (
        (holes, "1 of 13,500 values are masked, the first"),
        (list(holes), "1 of 13,500 values are masked, the first"),
        (objects, r"1 of 13,500 values are missing, the first \(None\)"),
        (nested, r"1 of 13,500 values are missing, the first \(None\)"),
    ):
        with pytest.raises(DataError, match=rf"^features: {what} {shown}: leave them out, or fill"):
            fnx.distances(features, labels)
    with pytest.raises(DataError, match=r"^labels: 2 of 90 values are masked, the first at 7: "):
        fnx.distances(values, masked(labels, 7, 9))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "features: None is not an array"),
        ([[1.0, 2.0], [3.0]], "features: cannot be read as an array: its rows have different"),
        ([[1, "2"], [3, 4]], "features are <U21: must be"),
        (np.array([[1, "2"], [3, 4]], dtype=object), "features: '2' in row 0, column 1 is not a"),
        (np.array([[1, 2j], [3, 4]], dtype=object), "features: 2j in row 0, column 1 is not a"),
        (np.array([[1, 2j], [3, 4]]), "features are complex128: must be"),
        ({"a": 1}, "features: {'a': 1} +is not a number"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(features: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        fnx.distances(features, [0, 1])


@pytest.mark.usefixtures("restored_registry")
def test_a_statistic_may_be_the_function_that_was_registered(values: Any, labels: Any) -> None:
    @fnx.statistic("first_bin", range=(-1, 1))
    def first_bin(inner: Any, outer: Any) -> Any:
        return outer[0] - inner[0]

    expected = fnx.distances(values, labels, statistic="first_bin")
    np.testing.assert_array_equal(fnx.distances(values, labels, statistic=first_bin), expected)
    with pytest.raises(ConfigError, match=r"^statistic=None: must be the name of one, as '\w+'$"):
        fnx.distances(values, labels, statistic=None)  # type: ignore[arg-type]
    message = (
        r"^statistic=len: must .*, as 'auroc'; register the function with @fnx\.statistic\(…\)$"
    )
    with pytest.raises(ConfigError, match=message):
        fnx.distances(values, labels, statistic=len)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 90, "labels have 1 class"),
        ([0, 1] * 40, "labels for 80 images, features of 90"),
        ([0.5, 1.0] * 45, "labels are float: must all be integers, or all strings"),
        (np.arange(90) / 2, "labels are float64: must all be integers, or all strings"),
        ([[[0, 1]]] * 90, r"labels have shape \(90, 1, 2\)"),
        ([], "labels are empty"),
        (None, "labels: None is not an array"),
        ([1, "1"] * 45, "labels are int and str: must all be integers, or all strings"),
        ([1, True] * 45, "labels are bool and int: must all"),
        ([b"a", "a"] * 45, "labels are bytes and str: must all"),
        (np.array([1, "1"] * 45, dtype=object), "labels are int and str: must all"),
    ],
)
def test_labels_that_make_no_sense_are_refused(values: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fnx.distances(values, labels)


def test_features_that_make_no_sense_are_refused(labels: Any) -> None:
    for bad, message in (
        (np.zeros(90), r"shape \(90,\)"),
        (np.zeros((90, 0)), "nothing to compare"),
        (np.zeros((90, 2), complex), "complex128"),
        (np.full((90, 2), "a"), "must be float16"),
    ):
        with pytest.raises(DataError, match=message):
            fnx.distances(bad, labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bins": 0}, "statistic.bins=0: must lie in 1"),
        ({"bins": 10**6}, "statistic.bins=1000000"),
        ({"bins": "ten"}, "statistic.bins='ten': must be int or null"),
        ({"bin": 10}, "unknown parameter of statistic 'ks' 'bin'"),
        ({"statistic": "kss"}, r"unknown statistic 'kss' \(did you mean 'ks'"),
    ],
)
def test_parameters_that_are_not_allowed(
    values: Any, labels: Any, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fnx.distances(values, labels, **parameters)


@pytest.mark.parametrize(
    ("array", "blocks"),
    [
        (np.zeros((3, 130), np.float32), [(0, 64), (64, 128), (128, 130)]),
        (np.zeros((3, 64), np.float32), [(0, 64)]),
        (np.zeros((3, 1), np.float32), [(0, 1)]),
        (Chunked((3, 130), (3, 10)), [(0, 64), (64, 128), (128, 130)]),
        (Chunked((3, 250), (1, 100)), [(0, 100), (100, 200), (200, 250)]),
        (Chunked((3, 1200), (3, 1200)), [(0, 512), (512, 1024), (1024, 1200)]),
    ],
)
def test_columns_are_read_by_blocks_of_chunks(array: Any, blocks: list[tuple[int, int]]) -> None:
    assert open_columns(array).blocks() == blocks


@pytest.mark.parametrize(
    ("dtype", "read"),
    [
        ("f2", "f4"),
        ("f4", "f4"),
        (">f4", "f4"),
        ("f8", "f8"),
        ("i1", "f8"),
        ("u8", "f8"),
        ("?", "f8"),
    ],
)
def test_columns_are_float32_or_float64(dtype: str, read: str) -> None:
    columns = open_columns(np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype))
    assert (columns.n_rows, columns.n_columns, columns.dtype) == (2, 3, np.dtype(read))
    block = columns.read(1, 3)
    assert block.dtype == np.dtype(read)
    expected = np.array([[1, 2], [4, 5]]).astype(dtype)
    np.testing.assert_array_equal(block, expected)


@pytest.mark.parametrize("dtype", [np.longdouble, "m8[s]", "c8", "U1"])
def test_columns_of_other_types_are_refused(dtype: Any) -> None:
    with pytest.raises(DataError, match="must be float16, float32, float64 or integers"):
        open_columns(np.zeros((2, 3), dtype))


@pytest.mark.parametrize(
    ("labellings", "classes", "message"),
    [
        ([[0, 1, 0]], 1, "1 classes: must be 2 to 65,536"),
        ([[0, 1, 0]], 65_537, "65537 classes: must be 2 to 65,536"),
        ([[0, 1, 2]], 2, r"labels must lie in 0 … 1"),
        ([[0, 1, -1]], 2, r"labels must lie in 0 … 1"),
        ([[0, 1, 1], [1, 1, 1]], 2, "class 0 has no images"),
        ([[0, 1, 0, 1]], 2, "labels for 4 images, features of 3: must be the same number"),
        ([0, 1, 0], 2, "labels for 3 images, features of 3"),
    ],
)
def test_labellings_that_make_no_sense_are_refused(
    labellings: Any, classes: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        group(np.array(labellings), 3, classes)


def test_labellings_are_counted() -> None:
    found = group(np.array([[0, 1, 1], [1, 1, 0]]), 3, 2)
    assert found.labellings.dtype == np.uint16
    assert found.labellings.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert found.sizes.tolist() == [[1, 2], [1, 2]]
    assert group(np.empty((0, 3), int), 3, 2).sizes.shape == (0, 2)


@pytest.mark.parametrize("value", [1 + 0.9e-5, -0.9e-5])
def test_rounding_beyond_the_declared_range_is_allowed(
    value: float, restored_registry: None
) -> None:
    fnx.statistic("rounds", range=(0, 1), compiled=False)(lambda inner, outer: value)
    found = fnx.distances([[0.0], [1.0]], [0, 1], statistic="rounds")
    assert found.tolist() == [[np.float32(value)] * 2]


@pytest.mark.parametrize(
    ("limits", "value"),
    [((0, 1), 1 + 1.2e-5), ((0, 1), -1.2e-5), ((-100, 1), 1.0012), ((0, np.inf), -1.2e-5)],
)
def test_more_than_rounding_is_not(
    limits: tuple[float, float], value: float, restored_registry: None
) -> None:
    fnx.statistic("far", range=limits, compiled=False)(lambda inner, outer: value)
    with pytest.raises(PluginError, match=r"gave .* for feature 0 and class 0: its declared range"):
        fnx.distances([[0.0], [1.0]], [0, 1], statistic="far")


def test_a_value_out_of_range_is_named_by_feature_and_class(restored_registry: None) -> None:
    def sometimes(inner: Any, outer: Any) -> float:
        return 2.5 if inner.tolist() == [1, 1] else 0.5

    fnx.statistic("some", range=(0, 1), on="samples", compiled=False)(sometimes)
    values = np.arange(4 * 70).reshape(4, 70) % 7.0
    values[:, 66] = [0, 0, 1, 1]
    message = (
        r"^statistic 'some' \(.*sometimes \(.*\)\) gave 2\.5 for feature 66 and class 1: its "
        r"declared range is 0 … 1$"
    )
    with pytest.raises(PluginError, match=message):
        fnx.distances(values, [0, 0, 1, 1], statistic="some")


def test_the_range_of_values_may_overflow_where_it_does_not_matter() -> None:
    huge = np.array([[-1.7e308, 1.0], [1.7e308, 2.0]])
    for statistic, expected in (("ks_exact", [-1, 1]), ("auroc", [0, 1])):
        assert fnx.distances(huge, [0, 1], statistic=statistic)[0].tolist() == expected
    assert fnx.distances(huge, [0, 1], bins=None)[0].tolist() == [-1, 1]
    for statistic in ("ks", "kl", "cohen_d"):
        with pytest.raises(DataError, match=r"^feature 0: the range of its values overflows float"):
            fnx.distances(huge, [0, 1], statistic=statistic)


def test_permutations_keep_the_sizes_of_classes_and_extend_each_other() -> None:
    labels = np.repeat([0, 1, 2], [3, 5, 9])
    few, many = permutations(labels, 2, seed=4), permutations(labels, 4, seed=4)
    np.testing.assert_array_equal(few, many[:2])
    assert all(np.bincount(row).tolist() == [3, 5, 9] for row in many)
    assert not (many[0] == many[1]).all()
    assert not (permutations(labels, 1, seed=5)[0] == few[0]).all()
    assert (few.dtype, few.shape, permutations(labels, 0, seed=4).shape) == (
        np.int32,
        (2, 17),
        (0, 17),
    )
    for r in range(4):
        expected = np.random.default_rng([4, r]).permutation(labels)
        np.testing.assert_array_equal(many[r], expected)
