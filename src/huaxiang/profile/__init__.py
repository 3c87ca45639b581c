"""The profile: what is known of each customer, how sure, since when, and why.

traits · say           the list of traits; a value as a person reads it
lifecycle · tags       stage, value tier and tags, by rules a person can check
predicted              the outcomes that are predicted and the models behind them
build                  the table `profiles`, one row a customer
because · context · trait_rows · persona · document
                       one customer's document (profile.schema.json), from the table and their own events
show · page            on a terminal; as HTML
find · pick · export   by id; worth reading first; all of them to a file
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huaxiang.profile.build import ProfileReport, build_profiles
    from huaxiang.profile.document import Profile, profile_document, profile_documents
    from huaxiang.profile.export import export_profiles
    from huaxiang.profile.find import find_user
    from huaxiang.profile.pick import pick_examples
    from huaxiang.profile.schema import profile_schema
    from huaxiang.profile.show import show_profile

__all__ = [
    "Profile",
    "ProfileReport",
    "build_profiles",
    "export_profiles",
    "find_user",
    "pick_examples",
    "profile_document",
    "profile_documents",
    "profile_schema",
    "show_profile",
]

_HOMES = {
    "Profile": "document",
    "ProfileReport": "build",
    "build_profiles": "build",
    "export_profiles": "export",
    "find_user": "find",
    "pick_examples": "pick",
    "profile_document": "document",
    "profile_documents": "document",
    "profile_schema": "schema",
    "show_profile": "show",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"huaxiang.profile.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'huaxiang.profile' has no attribute {name!r}")
