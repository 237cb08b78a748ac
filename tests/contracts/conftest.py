"""Property tests of this folder judge answers, never how long a busy machine took for them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("livecard", deadline=None)
settings.load_profile("livecard")
