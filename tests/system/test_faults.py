"""What the graph does when a service is away."""
