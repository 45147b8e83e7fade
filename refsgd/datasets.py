"""Data sets for experiments: the digits that come with the package, and IDX files in a folder of the user.

Nothing here uses the network.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._errors import message
from ._validation import float_dtype


class Dataset(NamedTuple):
    """Samples and labels for training and for testing.

    See Also
    --------
    load_digits, load_mnist : return one.

    Examples
    --------
    >>> load_digits().name
    'digits'
    """

    X_train: NDArray[np.floating[Any]]
    """float32 or float64 ``(n_train, n_features)``, in [0, 1]."""
    y_train: NDArray[np.int64]
    """``(n_train,)``."""
    X_test: NDArray[np.floating[Any]]
    """``(n_test, n_features)``."""
    y_test: NDArray[np.int64]
    """``(n_test,)``."""
    name: str


def load_digits(dtype: DTypeLike = np.float32) -> Dataset:
    """Return the 1,797 images of 8 x 8 pixels of the UCI optical digits, which come with the package.

    The source is ordered by writer. So the samples are shuffled once, by the permutation of
    ``np.random.default_rng(0)``, and the first 80 % are for training: 1,437 samples, and 360 for testing.
    Nothing keeps the classes in proportion. ``data/README.md`` beside this module has the source and the
    licence.

    Parameters
    ----------
    dtype : float32 or float64
        The dtype of the pixels, which are divided by their maximum of 16.

    Returns
    -------
    Dataset
        With 64 features and labels 0 to 9.

    Raises
    ------
    TypeError
        If ``dtype`` is another one.

    See Also
    --------
    load_mnist : larger images.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.X_train.shape, digits.X_test.shape
    ((1437, 64), (360, 64))
    """
    with resources.files("refsgd").joinpath("data", "digits.npz").open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    order = np.random.default_rng(0).permutation(len(images))
    return _split(_scaled(images[order], 16, dtype), labels[order].astype(np.int64), "digits")


def load_mnist(folder: str | os.PathLike[str], dtype: DTypeLike = np.float32) -> Dataset:
    """Return MNIST, or another set in its format, from the IDX files in a folder.

    The files have their standard names, each plain or with ``.gz`` appended: ``train-images-idx3-ubyte``,
    ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``. Where neither of
    the first two is there, the first 80 % of the other pair are for training and the rest for testing: of
    MNIST 8,000 and 2,000 rows.

    Parameters
    ----------
    folder : path
        Where the files are.
    dtype : float32 or float64
        The dtype of the pixels, which are divided by 255.

    Returns
    -------
    Dataset
        With a feature for each pixel, of MNIST 784, row by row.

    Raises
    ------
    FileNotFoundError
        If a file that is needed is not there.
    ValueError
        If a file is not what its name says, or two of them do not belong together.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    See Also
    --------
    load_digits : needs no files.
    read_idx : reads one file.

    Examples
    --------
    >>> load_mnist("no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder must be a folder with MNIST's IDX files, got 'no/such/folder'; check the path.
    """
    folder = Path(folder)
    if not folder.is_dir():
        got = repr(folder.as_posix())
        raise FileNotFoundError(
            message("folder", "be a folder with MNIST's IDX files", got, "check the path")
        )
    images, labels = _read_pair(folder, "t10k")
    X, y = _scaled(images, 255, dtype), labels.astype(np.int64)
    if not any(_find(folder, name) for name in _pair_names("train")):
        return _split(X, y, "mnist-t10k")
    train_images, train_labels = _read_pair(folder, "train")
    if train_images.shape[1:] != images.shape[1:]:
        raise ValueError(
            message(
                "folder",
                "hold training and test images of one size",
                f"{train_images.shape[1:]} and {images.shape[1:]}",
                "keep each data set in a folder of its own",
            )
        )
    return Dataset(_scaled(train_images, 255, dtype), train_labels.astype(np.int64), X, y, "mnist")


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, the format of MNIST.

    The file is two zero bytes, the type (8, unsigned byte), the number of axes, the length of each axis as a
    big-endian 32-bit integer, and the entries in C order. It is decompressed if its name ends in ``.gz``.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    uint8 ndarray
        With as many axes as the file says; not writable.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not an IDX file of unsigned bytes, or shorter or longer than its header says.

    See Also
    --------
    load_mnist : reads the files of a data set.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            _refuse(path, "be a whole gzip file", str(error).rstrip("."))
    if content[:3] != b"\0\0\x08" or len(content) < 4:
        _refuse(path, "begin with the bytes 00 00 08 of an IDX file of unsigned bytes", content[:3].hex(" "))
    start = 4 + 4 * content[3]
    if len(content) < start:
        _refuse(path, f"have a header of {start} bytes", f"{len(content)} bytes")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    n_bytes = start + math.prod(shape)
    if len(content) != n_bytes:
        _refuse(path, f"have {n_bytes} bytes for its shape {shape}", f"{len(content)} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _refuse(path: Path, must: str, got: str) -> NoReturn:
    raise ValueError(message(str(path), must, got or "nothing", "fetch the file again")) from None


def _pair_names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _find(folder: Path, name: str) -> Path | None:
    """Return the file of that name, plain or compressed, or None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images ``(n, height, width)`` and labels ``(n,)`` of one part of MNIST."""
    arrays = []
    for name, ndim in zip(_pair_names(part), (3, 1), strict=True):
        path = _find(folder, name)
        if path is None:
            raise FileNotFoundError(
                message(
                    "folder",
                    f"hold {name} or {name}.gz",
                    f"neither in {str(folder)!r}",
                    "put the file there or name another folder",
                )
            )
        array = read_idx(path)
        if array.ndim != ndim:
            _refuse(path, f"hold an array with {ndim} axes", f"shape {array.shape}")
        arrays.append(array)
    images, labels = arrays
    if len(images) != len(labels):
        raise ValueError(
            message(
                str(folder),
                f"hold one label for each image in its {part} files",
                f"{len(images)} images and {len(labels)} labels",
                "fetch the files again",
            )
        )
    return images, labels


def _scaled(images: NDArray[np.uint8], maximum: int, dtype: DTypeLike) -> NDArray[np.floating[Any]]:
    """Return the images as rows ``(n, n_pixels)`` in [0, 1]."""
    real = float_dtype("dtype", dtype)
    X: NDArray[np.floating[Any]] = images.reshape(len(images), math.prod(images.shape[1:])).astype(real)
    X /= maximum
    return X


def _split(X: NDArray[np.floating[Any]], y: NDArray[np.int64], name: str) -> Dataset:
    """Return the first 80 % of the rows as training set and the others as test set."""
    n_train = len(X) * 4 // 5
    return Dataset(X[:n_train], y[:n_train], X[n_train:], y[n_train:], name)
