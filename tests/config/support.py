"""What the configuration's tests share: a load with files in a dict, and one pool that is right."""

from collections.abc import Mapping

import pytest

from penstock.base.errors import ConfigError
from penstock.config.load import load
from penstock.config.schema import Settings

POOL = "pools: [{name: p, replicas: [{url: 'http://h:1'}]}]\n"


def load_text(
    text: str, environment: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> Settings:
    """Settings of a text; files are those of the dict and no others."""

    def read_file(path: str) -> str:
        if files is None or path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    return load(text, environment or {}, read_file)


def mistakes_of(
    text: str, environment: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> list[str]:
    """The mistakes of a text that must have some."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, environment, files)
    return caught.value.mistakes
