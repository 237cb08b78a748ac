"""The `livecard` command: the only room that knows every service."""
