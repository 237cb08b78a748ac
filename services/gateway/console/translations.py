"""What the console says, in English and in Chinese: `translations.json` has both for every name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

EN, ZH = "en", "zh"
LANGUAGES: Final = {EN: "English", ZH: "中文"}


class Translations:
    """The texts, read once."""

    def __init__(self) -> None:
        file = Path(__file__).with_name("translations.json").read_bytes()
        self.texts = msgspec.json.decode(file, type=dict[str, tuple[str, str]])

    def __contains__(self, name: object) -> bool:
        return name in self.texts

    def say(self, language: str, name: str, /, **values: object) -> str:
        """One text; its places are filled in."""
        text = self.texts[name][language == ZH]
        return text.format(**values) if values else text

    def age(self, language: str, us: int) -> str:
        """A duration as people say it."""
        seconds = max(0, us) // 1_000_000
        minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
        if minutes < 2:
            return self.say(language, "age.s", n=seconds)
        if hours < 2:
            return self.say(language, "age.m", n=minutes)
        if days < 2:
            return self.say(language, "age.h", n=hours, m=minutes % 60)
        return self.say(language, "age.d", n=days, h=hours % 24)
