"""Wire formats: events in, changes out, nudges, WeChat's bodies and error codes, topic names. No I/O."""
