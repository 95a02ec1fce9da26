"""Experts: one per interface, each a closed loop over the present state, so that they can take turns."""
