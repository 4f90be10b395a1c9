"""Base of the settings: a model whose fields are read from variables of the environment and from a TOML file.

In the place of a library for it, which takes 6 MB of every process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from messages.parse_errors import read_toml


class VariableSettings(BaseModel):
    """A model that is made of what it is given, then of the environment, then of a file.

    A variable is called as its field, with `PREFIX` before it, in any case; an empty one counts as not set. Its text is
    the value of the field, so a field that is a table stands in the file alone. A key of the file that is no field is
    an error.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    PREFIX: ClassVar[str] = ""
    # Variable with the path of the file; empty or not set: there is none.
    FILE_VARIABLE: ClassVar[str] = ""

    def __init__(self, **given: Any) -> None:
        """Read what is not given.

        Raises:
            ValidationError: A value is not what its field takes.
            OSError: The file cannot be read.
            TomlError: The file is no TOML.
        """
        super().__init__(**{**self._from_file(), **self._from(os.environ), **given})

    @classmethod
    def _from(cls, environment: Mapping[str, str]) -> dict[str, str]:
        prefix = cls.PREFIX.lower()
        values = {name.lower(): value for name, value in environment.items() if value}
        return {field: values[prefix + field] for field in cls.model_fields if prefix + field in values}

    @classmethod
    def _from_file(cls) -> dict[str, Any]:
        file = os.environ.get(cls.FILE_VARIABLE)
        return read_toml(Path(file).read_text(encoding="utf-8")) if file else {}
