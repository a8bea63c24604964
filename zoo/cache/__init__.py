"""What was computed once, on the disk: rows of numbers by the digest of what each was computed from. No torch here.

CACHE/<kind>/<digest of the facts>/
    facts.json        everything that the rows depend on beside their keys: weights, preprocessing, engine, ...
    <sha256>.npy      shards: records of (key, row), named by the digest of their bytes
    .claim-*          keys that a living process is computing (`zoo.cache.claims`)

A shard is written aside and renamed, so there are no torn reads and a reader needs no lock; a kill loses the shard at hand alone. Each
is compared with its name before its rows are first used by a process; what is damaged is said, removed and computed again. Any part may
be deleted at any time: it is computed again. A cache that cannot be written costs time, and never a run: what it cannot take is kept
for the process alone.
"""

from zoo.cache.claims import KEY, Keys, alone
from zoo.cache.places import FACTS, LOCK, OFF, asked_for, at, folder, passing, place, read_facts, release, sweep, warn_once
from zoo.cache.space import Integers, Rows, Shards, Space
from zoo.cache.upkeep import Entry, clear, damaged, entries, trim, verify

__all__ = [
    "FACTS",
    "KEY",
    "LOCK",
    "OFF",
    "Entry",
    "Integers",
    "Keys",
    "Rows",
    "Shards",
    "Space",
    "alone",
    "asked_for",
    "at",
    "clear",
    "damaged",
    "entries",
    "folder",
    "passing",
    "place",
    "read_facts",
    "release",
    "sweep",
    "trim",
    "verify",
    "warn_once",
]
