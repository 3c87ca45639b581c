"""The API: what a shop knows, over HTTP, to those who may know it.

door       who asks (401), how large a question may be, the audit of every answer about a customer
keys       API keys, kept as hashes        roles      which key may read what: one table
audit      who looked at whom, when (kept: on disk before it is told)   problems   every error as problem+json
documents  a row of `profiles` → the document that one key may read
desk       threads with a shop of their own, for what blocks (gather: once for all who ask at the same time)
app        the routes: people, foresee, market, guard, about; schemas: what they answer; metrics
"""
