"""The peers' names in reports."""

LORAHUB, TIES, DARE, ARROW = "lorahub", "ties", "dare", "arrow"
PEERS = (LORAHUB, TIES, DARE, ARROW)
