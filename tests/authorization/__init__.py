"""Access rules of a supergraph: who gets what, and what is fetched for whom."""
