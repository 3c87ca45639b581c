"""Collect: files and databases into the raw tables of the lake, past the door.

files → sieve → read      a source as a staged table of text; lines that are no rows become rejects
where → values → map      text as the contract's columns and types
door                      consent, test accounts, pseudonyms, personal values to the vault
store                     only rows not stored before are appended
sniff → guess → propose   `huaxiang init`: from files to the settings that the rest obeys
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from huaxiang.collect.report import CollectReport, FileReport, SourceReport, TableCount

if TYPE_CHECKING:
    from huaxiang.collect.run import collect_sources

__all__ = ["CollectReport", "FileReport", "SourceReport", "TableCount", "collect_sources"]


def __getattr__(name: str) -> object:
    if name == "collect_sources":
        from huaxiang.collect.run import collect_sources

        return collect_sources
    raise AttributeError(name)
