"""What makes files of this repository out of others; run by make."""
