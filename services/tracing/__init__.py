"""Traces by OpenTelemetry, where they are asked for: from a producer's event to the call to WeChat."""
