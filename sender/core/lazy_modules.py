"""Packages that take long to load, and are loaded when one of their names is first used.

A module that only passes frames on, or looks at them in some of its functions, imports `pl` from here instead of
polars itself: a command that answers without a frame is then not kept waiting for polars. A name used while a module is
being loaded (a schema, a default, a decorator) loads the package, so such constants are in modules of their own.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class LazyModule(ModuleType):
    """Stands for the package `name` until one of its names is used; then it has all of them, and costs nothing more."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)  # what tools ask any module for must not load the package
        module = import_module(self.__name__)
        vars(self).update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return getattr(module, attribute)


if TYPE_CHECKING:
    import babel
    import fastexcel
    import filelock
    import httpx
    import phonenumbers
    import polars as pl
    import psutil
    import xlsxwriter
    from babel import languages as babel_languages
else:
    babel = LazyModule("babel")
    babel_languages = LazyModule("babel.languages")
    fastexcel = LazyModule("fastexcel")
    filelock = LazyModule("filelock")
    httpx = LazyModule("httpx")
    phonenumbers = LazyModule("phonenumbers")
    pl = LazyModule("polars")
    psutil = LazyModule("psutil")
    xlsxwriter = LazyModule("xlsxwriter")

__all__ = [
    "LazyModule",
    "babel",
    "babel_languages",
    "fastexcel",
    "filelock",
    "httpx",
    "phonenumbers",
    "pl",
    "psutil",
    "xlsxwriter",
]
