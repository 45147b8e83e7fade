"""The digits of the package, and IDX files written here."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from refsgd.datasets import load_digits, load_mnist, read_idx

IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(path, array):
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_pair(folder, part, n, suffix="", size=(3, 2)):
    """Write n images and labels, and return them."""
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (n, *size), dtype=np.uint8)
    labels = rng.integers(0, 10, n, dtype=np.uint8)
    write_idx(folder / (IMAGES.format(part) + suffix), images)
    write_idx(folder / (LABELS.format(part) + suffix), labels)
    return images, labels


# Digits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_digits_have_the_documented_shapes_and_types(dtype):
    digits = load_digits(dtype)
    assert digits.X_train.shape == (1437, 64)
    assert digits.X_test.shape == (360, 64)
    assert digits.y_train.shape == (1437,)
    assert digits.y_test.shape == (360,)
    assert digits.X_train.dtype == digits.X_test.dtype == dtype
    assert digits.y_train.dtype == digits.y_test.dtype == np.int64
    assert digits.name == "digits"


def test_digits_fill_the_unit_range_and_all_classes():
    digits = load_digits()
    for X, y in ((digits.X_train, digits.y_train), (digits.X_test, digits.y_test)):
        assert (X.min(), X.max()) == (0, 1)
        assert_array_equal(np.unique(y), np.arange(10))


def test_digits_are_split_the_same_way_always():
    # Sums weighted by the row, so that another order changes them; exact, since pixels are whole sixteenths.
    digits = load_digits(np.float64)
    assert_array_equal(digits.y_train[:10], [6, 6, 6, 2, 5, 6, 6, 2, 2, 1])
    assert (np.arange(1437) @ digits.X_train).sum() * 16 == 322_663_389
    assert (np.arange(360) @ digits.X_test).sum() * 16 == 19_980_510


def test_digits_are_those_of_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    digits = load_digits(np.float64)
    X, y = np.concatenate([digits.X_train, digits.X_test]), np.concatenate([digits.y_train, digits.y_test])
    order = np.random.default_rng(0).permutation(1797)
    assert_array_equal(X * 16, source.data[order])
    assert_array_equal(y, source.target[order])


# MNIST


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_four_files_give_the_standard_split(tmp_path, suffix, dtype):
    train_images, train_labels = write_pair(tmp_path, "train", 7, suffix)
    test_images, test_labels = write_pair(tmp_path, "t10k", 5, suffix)
    mnist = load_mnist(tmp_path, dtype)
    assert_array_equal(mnist.X_train, train_images.reshape(7, 6).astype(dtype) / 255)
    assert_array_equal(mnist.X_test, test_images.reshape(5, 6).astype(dtype) / 255)
    assert_array_equal(mnist.y_train, train_labels)
    assert_array_equal(mnist.y_test, test_labels)
    assert mnist.X_train.dtype == mnist.X_test.dtype == dtype
    assert mnist.y_train.dtype == mnist.y_test.dtype == np.int64
    assert mnist.name == "mnist"


def test_test_files_alone_are_split_at_four_fifths(tmp_path):
    images, labels = write_pair(tmp_path, "t10k", 10)
    mnist = load_mnist(str(tmp_path), np.float64)
    assert_array_equal(mnist.X_train, images[:8].reshape(8, 6) / 255)
    assert_array_equal(mnist.X_test, images[8:].reshape(2, 6) / 255)
    assert_array_equal(mnist.y_train, labels[:8])
    assert_array_equal(mnist.y_test, labels[8:])
    assert mnist.name == "mnist-t10k"


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"folder must be a folder .*, got '.*absent'; check the path"
    ):
        load_mnist(tmp_path / "absent")


@pytest.mark.parametrize(
    "missing", [LABELS.format("t10k"), IMAGES.format("t10k"), LABELS.format("train"), IMAGES.format("train")]
)
def test_missing_file_is_named_with_both_forms(tmp_path, missing):
    write_pair(tmp_path, "train", 7)
    write_pair(tmp_path, "t10k", 5)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"folder must hold {missing} or {missing}\.gz, got neither"):
        load_mnist(tmp_path)


def test_images_and_labels_of_different_lengths_are_refused(tmp_path):
    write_pair(tmp_path, "t10k", 5)
    write_idx(tmp_path / LABELS.format("t10k"), np.zeros(4, np.uint8))
    with pytest.raises(
        ValueError, match="one label for each image in its t10k files, got 5 images and 4 labels"
    ):
        load_mnist(tmp_path)


def test_labels_in_the_place_of_images_are_refused(tmp_path):
    write_pair(tmp_path, "t10k", 5)
    write_idx(tmp_path / IMAGES.format("t10k"), np.zeros(5, np.uint8))
    with pytest.raises(
        ValueError, match=r"t10k-images-idx3-ubyte must hold an array with 3 axes, got shape \(5,\)"
    ):
        load_mnist(tmp_path)


def test_training_and_test_images_of_different_size_are_refused(tmp_path):
    write_pair(tmp_path, "train", 7)
    write_pair(tmp_path, "t10k", 5, size=(4, 4))
    with pytest.raises(ValueError, match=r"images of one size, got \(3, 2\) and \(4, 4\)"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("load", [load_digits, load_mnist])
def test_other_dtypes_are_refused(load, tmp_path):
    write_pair(tmp_path, "t10k", 5)
    args = (tmp_path,) if load is load_mnist else ()
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got int64"):
        load(*args, dtype=np.int64)


# IDX


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 3, 4), (1, 2, 1, 2)])
@pytest.mark.parametrize("name", ["data", "data.gz"])
def test_idx_arrays_of_any_number_of_axes_are_read_back(tmp_path, shape, name):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    array = np.asarray(array, np.uint8)
    write_idx(tmp_path / name, array)
    read = read_idx(tmp_path / name)
    assert read.dtype == np.uint8
    assert read.shape == shape
    assert_array_equal(read, array)


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("data", b"", "must begin with the bytes 00 00 08 .*, got nothing"),
        ("data", b"P5 3 2", "must begin with the bytes 00 00 08 .*, got 50 35 20"),
        ("data", b"\0\0\x0d" + GOOD[3:], "must begin with the bytes 00 00 08 .*, got 00 00 0d"),
        ("data", GOOD[:3], "must begin with the bytes 00 00 08 "),
        ("data", gzip.compress(GOOD, mtime=0), "must begin with the bytes 00 00 08 .*, got 1f 8b 08"),
        ("data", GOOD[:7], "must have a header of 12 bytes, got 7 bytes"),
        ("data", GOOD[:-1], r"must have 18 bytes for its shape \(2, 3\), got 17 bytes"),
        ("data", GOOD + b"\0", r"must have 18 bytes for its shape \(2, 3\), got 19 bytes"),
        ("data.gz", GOOD, "must be a whole gzip file, got Not a gzipped file"),
        (
            "data.gz",
            gzip.compress(GOOD, mtime=0)[:-4],
            "must be a whole gzip file, got Compressed file ended",
        ),
        ("data.gz", gzip.compress(GOOD, mtime=0)[:12] + bytes(30), "must be a whole gzip file, got "),
    ],
)
def test_damaged_idx_files_are_refused_by_name_and_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} {reason}"):
        read_idx(tmp_path / name)


def test_missing_idx_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        read_idx(tmp_path / "absent")
