"""Tools for developers and CI: the test engines, the lock files, the diagrams."""
