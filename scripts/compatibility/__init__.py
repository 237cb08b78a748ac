"""Whether what other teams wrote against the last release's contracts still works with today's."""
