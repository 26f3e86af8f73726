"""Subscriptions through the router, from subgraphs to clients."""
