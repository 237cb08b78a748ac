"""Secrets, certificates and passwords: real engines that demand them, and the search for what leaks."""
