"""The real classes of each family: loading them, and the loss of single samples that training and evaluation share."""
