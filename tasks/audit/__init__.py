"""Every rule tried on references treated as unseen, and what that says of a target: its rule, and what to expect."""

VERSION = "3"  # bump when the same inputs give other outputs; part of every digest
