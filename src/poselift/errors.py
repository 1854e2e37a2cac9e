"""Everything that can go wrong on purpose.

PoseliftError
├── InputError            something the user gave cannot be used
│   ├── FormatError       a file is not what its name says, or of no known layout
│   ├── ShapeError        an array has another shape than its words promise
│   └── UnknownNameError  a name is not in a table
├── OutputError           a result cannot be written
├── DetectorError         a detector failed (this never means "nobody there")
├── WeightsError          weights are missing, damaged, or do not fit the network
└── MissingExtraError     an optional dependency is not installed

Every message says what was expected, what was found and, where there is a table, what is known.
"""

from collections.abc import Iterable


class PoseliftError(Exception):
    """Root of all errors that poselift raises on purpose."""

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        found: object = None,
        known: Iterable[object] = (),
    ) -> None:
        self.what = what
        parts = [what]
        if expected is not None:
            parts.append(f"expected {expected}")
        if found is not None:
            parts.append(f"found {found}")
        message = ": ".join([parts[0], ", ".join(parts[1:])]) if parts[1:] else what
        names = ", ".join(str(name) for name in known)
        super().__init__(f"{message} (known: {names})" if names else message)

    def __reduce__(self) -> tuple[object, ...]:
        # The message is made once: copies (other processes) take it, as arguments differ by class.
        return _copied, (type(self), str(self)), self.__dict__


def _copied(kind: type[PoseliftError], message: str) -> PoseliftError:
    error = kind.__new__(kind)
    super(PoseliftError, error).__init__(message)
    return error


class InputError(PoseliftError, ValueError):
    """Something the user gave cannot be used."""


class FormatError(InputError):
    """A file is not what its name says, or its layout is none of the known ones."""


class ShapeError(InputError):
    """An array has another shape than its words promise."""


class UnknownNameError(InputError):
    """A name is not in a table; the message lists the table."""

    def __init__(self, kind: str, name: object, known: Iterable[object]) -> None:
        super().__init__(f"unknown {kind}", found=repr(name), known=sorted(map(str, known)))


class OutputError(PoseliftError, OSError):
    """A result cannot be written."""


class DetectorError(PoseliftError, RuntimeError):
    """A detector failed; this never means that nobody was there."""


class WeightsError(PoseliftError, RuntimeError):
    """Weights are missing, damaged, or do not fit the network."""


class MissingExtraError(PoseliftError, ImportError):
    """An optional dependency is not installed; the message gives the pip line."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed", expected=f"pip install 'poselift[{extra}]'")
