"""The version of the package, of pyproject.toml and of what is printed."""

VERSION = "0.1.0"
