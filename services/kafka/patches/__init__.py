"""Work-arounds for faults of libraries, one a file: the upstream issue, and what would let it go."""
