"""The benchmarks: that each of them runs, and that what they say is so."""
