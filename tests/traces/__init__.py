"""What a request that asks for it is told of its plan and its fetches."""
