"""Who may read what: keyed pseudonyms for user ids, an encrypted vault for personal values, and masks for free text.

pseudonyms = Pseudonyms(load_key(folder / "keys" / "pseudonym.key"))
pseudonyms.of("17850")                     # the same 12 characters each time, meaningless without the key
Vault(folder / "vault.db", load_key(folder / "keys" / "vault.key")).get(pseudonym)
"""

from huaxiang.trust.pseudonyms import Pseudonyms, canonical_id, load_key, trimmed
from huaxiang.trust.scrub import mask_sql, mask_text
from huaxiang.trust.vault import Vault

__all__ = ["Pseudonyms", "Vault", "canonical_id", "load_key", "mask_sql", "mask_text", "trimmed"]
