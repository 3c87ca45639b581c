"""The hooks that huaxiang.toml declares, each with the secret that its requests are signed with."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from huaxiang.apply.market.webhook import check_url
from huaxiang.errors import ShopError, TrustError
from huaxiang.settings import Settings
from huaxiang.settings.live import HookSettings

LEAST = 16  # bytes of a secret


@dataclass(frozen=True)
class Hook:
    """audiences: whose changes it is told (None: all that are followed live)"""

    name: str
    url: str
    audiences: frozenset[str] | None
    secret: bytes = field(repr=False)

    @property
    def host(self) -> str:
        """What may be shown of the address: the rest may hold a key."""
        return urlsplit(self.url).hostname or ""

    def follows(self, audience: str) -> bool:
        return self.audiences is None or audience in self.audiences


def open_hooks(folder: Path, settings: Settings) -> tuple[Hook, ...]:
    """The hooks of the shop in `folder`; a secret that is absent is made.

    raises: ShopError where an address is none or an audience is not declared, TrustError for an unfit secret
    """
    return tuple(_open(folder, name, one, settings) for name, one in settings.live.hooks.items())


def secret_path(folder: Path, name: str, one: HookSettings) -> Path:
    return folder / (one.secret or f"keys/hook-{name}.key")


def find_hook(name: str, hooks: Mapping[str, Hook]) -> Hook:
    """raises: ShopError where none is called so"""
    if name not in hooks:
        raise ShopError("serve.no_hook", name=name, have=", ".join(hooks) or "-")
    return hooks[name]


def _open(folder: Path, name: str, one: HookSettings, settings: Settings) -> Hook:
    check_url(one.url)
    for audience in one.audiences:
        if audience not in settings.audiences:
            have = ", ".join(settings.audiences) or "-"
            raise ShopError("serve.hook_audience", name=name, audience=audience, have=have)
    secret = _load_secret(secret_path(folder, name, one))
    return Hook(name, one.url, frozenset(one.audiences) or None, secret)


def _load_secret(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(f"{secrets.token_hex(32)}\n")
        except FileExistsError:  # another process was first
            pass
    try:
        mode, secret = stat.S_IMODE(path.stat().st_mode), path.read_bytes().strip()
    except PermissionError as error:
        raise TrustError("trust.key_denied", path=path) from error
    if mode & 0o077:
        raise TrustError("trust.key_open", path=path, mode=f"{mode:o}")
    if len(secret) < LEAST:
        raise TrustError("serve.hook_secret", path=path, bytes=len(secret), least=LEAST)
    return secret
