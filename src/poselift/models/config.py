"""What the configurations of networks share: checks of numbers, and JSON."""

import json
from dataclasses import asdict, fields
from typing import Any, Self

from poselift.errors import FormatError, InputError, UnknownNameError


class JsonConfig:
    """Base of frozen dataclasses that describe a network; lists in JSON become tuples."""

    def to_json(self) -> str:
        """All fields as JSON."""
        return json.dumps(asdict(self), indent=2)  # ty: ignore[invalid-argument-type]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The configuration that `to_json` wrote. Raises FormatError, UnknownNameError."""
        what = f"{cls.__module__.rpartition('.')[2]} configuration"
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise FormatError(what, expected="JSON", found=error) from error
        if not isinstance(values, dict):
            raise FormatError(what, expected="a JSON object", found=type(values).__name__)
        known = [field.name for field in fields(cls)]  # ty: ignore[invalid-argument-type]
        for name in values:
            if name not in known:
                raise UnknownNameError(f"field of the {what}", name, known)
        return cls(**{name: _frozen(value) for name, value in values.items()})

    def check_counts(self, *names: str) -> None:
        """Raises InputError where one of these fields is below 1."""
        for name in names:
            if getattr(self, name) < 1:
                raise InputError(name, expected="1 or more", found=getattr(self, name))

    def check_rates(self, *names: str) -> None:
        """Raises InputError where one of these fields is no share below 1."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise InputError(name, expected="0 up to below 1", found=getattr(self, name))

    def check_choice(self, name: str, known: tuple[object, ...]) -> None:
        """Raises InputError where this field is none of the known values."""
        if getattr(self, name) not in known:
            raise InputError(name, found=repr(getattr(self, name)), known=known)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
