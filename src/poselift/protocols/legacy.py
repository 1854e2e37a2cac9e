"""Legacy files of users: NPZ with object arrays and pickles, read without running what they hold.

The datasets of this field come as Python pickles, alone or inside NPZ. A pickle may name any
function to be called; `allow_pickle` of numpy would call it. Nothing here uses that: only the parts
of numpy arrays and Python's plain values are admitted, everything else is refused by its name. This
is the one room of poselift that reads pickles, and no file of ours is one.
"""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from poselift.errors import FormatError
from poselift.io.files import check_input_file

Array = NDArray[Any]


class _Refused(Exception):
    """A pickle names something that is neither a numpy array nor a plain value."""


def _type_only(*_: object) -> None:
    raise _Refused("numpy.ndarray, called")


def _empty(_: object, shape: tuple[int, ...], dtype: Any) -> Array:
    return np.empty(shape, dtype)  # what it holds is set afterwards


def _from_bytes(data: bytes, dtype: Any, shape: tuple[int, ...], order: Any) -> Array:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _scalar(dtype: Any, data: bytes | str) -> Any:
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype)[0]


def _latin1(text: str, _: str) -> bytes:
    return text.encode("latin1")  # how Python 3 writes bytes for Python 2


def _no_bytes() -> bytes:
    return b""


# What a pickle may name, and what is called in its place.
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _type_only,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
} | {
    (f"numpy.{core}.{module}", name): stand_in
    for core in ("core", "_core")
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _empty),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_bytes),
    )
}


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"{module}.{name}")
        return _ADMITTED[module, name]


def read_pickle(path: Path) -> object:
    """Numpy arrays and plain values of a pickle (also one of Python 2).

    Raises FormatError: missing, damaged, or holding anything else.
    """
    with check_input_file(path).open("rb") as file:
        return _load(file, str(path))


def read_entry(path: Path, entry: str) -> object:
    """One entry of an NPZ: what a 0-d object array holds, or the array itself.

    Raises FormatError: missing or damaged file, no such entry, or objects that are not plain.
    """
    try:
        with zipfile.ZipFile(check_input_file(path)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if entry not in names:
                raise FormatError(f"{path} lacks an entry", expected=entry, known=names)
            with archive.open(f"{entry}.npy") as file:
                return _read_array(file, f"{path}: {entry}")
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} cannot be read as NPZ", found=str(error)) from error


def _read_array(file: IO[bytes], where: str) -> object:
    version = np.lib.format.read_magic(file)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise FormatError(f"{where}: NPY version", found=version, known=headers)
    shape, fortran, dtype = headers[version](file)
    if dtype.hasobject:
        value = _load(file, where)
        return value.item() if isinstance(value, np.ndarray) and value.shape == () else value
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(file.read(count * dtype.itemsize), dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def _load(file: IO[bytes], where: str) -> object:
    try:
        return _Plain(file, encoding="latin1").load()
    except _Refused as error:
        raise FormatError(
            f"{where}: refused, it is a pickle that could run code",
            expected="numpy arrays and plain values only",
            found=str(error),
        ) from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise FormatError(f"{where} is damaged", found=str(error) or repr(error)) from error
