"""The lowest room: atomic files, content digests, and the two values every error is made of."""

from tasks.files.atomic import atomic_directory, atomic_file, write_json
from tasks.files.digests import DigestCache, digest_bytes, digest_file, digest_tree, digest_value
from tasks.files.problems import Failure, InvalidInput, Problem

__all__ = [
    "DigestCache",
    "Failure",
    "InvalidInput",
    "Problem",
    "atomic_directory",
    "atomic_file",
    "digest_bytes",
    "digest_file",
    "digest_tree",
    "digest_value",
    "write_json",
]
