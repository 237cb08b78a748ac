"""The example mini program on its stage: compiled, on telephones made of node, before its real backend."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from scripts.engines.npm import missing, node_modules
from scripts.patience import PATIENCE
from tests.engines.support import REQUIRED

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "miniprogram"
STAGE: Final = Path(__file__).parent / "miniprogram"
APPID: Final = "wx1"
needs_npm: Final = pytest.mark.skipif(
    missing() is not None and not REQUIRED, reason=f"NPM IS MISSING: {missing()}"
)
SHOWN: Final = (".json", ".wxml", ".wxss")


def compiled(folder: Path) -> dict[str, str]:
    """The mini program's files as the telephone gets them, path → text; `folder` is for the compiler."""
    modules = node_modules(EXAMPLE)
    types = f"{modules},{modules / '@types'}"
    command = ["node", str(modules / "typescript" / "bin" / "tsc"), "-p", str(EXAMPLE)]
    options = ["--outDir", str(folder), "--typeRoots", types]
    told = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    sources = EXAMPLE / "miniprogram"
    files = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.js")}
    for path in sources.rglob("*"):
        if path.suffix in SHOWN:
            files[path.relative_to(sources).as_posix()] = path.read_text("utf-8")
    return files


class Stage:
    """Telephones by openid; each answer is what is to be seen on the one that was used."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, phone: str, what: str, **more: Any) -> Any:
        """What hands.mjs calls `what`. Nothing may have been thrown by the pages."""
        seen = await self._ask({"phone": phone, "do": what, **more})
        assert seen["crashes"] == [], seen["crashes"]
        return seen

    async def tap(self, phone: str, text: str) -> Any:
        """Tap the button that reads so, once it is there and on."""

        def on(seen: Any) -> bool:
            return any(text in each["text"] and not each["disabled"] for each in seen["buttons"])

        await self._until(phone, on, text)
        return await self.do(phone, "tap", text=text)

    async def look(self, phone: str) -> Any:
        """What is to be seen now."""
        return await self.do(phone, "look")

    async def sees(self, phone: str, text: str) -> Any:
        """Wait until the page reads so; a page may look at its activity a few times."""
        return await self._until(phone, lambda seen: text in seen["text"], text)

    async def _until(self, phone: str, there: Callable[[Any], bool], what: str) -> Any:
        seen: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not there(seen := await self.look(phone)):
                    pass
        except TimeoutError:
            pytest.fail(f"{phone} waits for {what!r} and sees {seen['text']!r}")
        return seen

    async def move(self, backend: str) -> None:
        """From now on every telephone finds the backend there."""
        await self._ask({"do": "move", "backend": backend})

    async def said(self) -> list[Any]:
        """What the pages sent to the chats, oldest first."""
        return list((await self._ask({"do": "said"}))["said"])

    async def _ask(self, wish: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(wish) + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        told = msgspec.json.decode(line)
        assert "error" not in told, told["error"]
        return told


@asynccontextmanager
async def stage(files: dict[str, str], folder: Path, simulator: str, backend: str) -> AsyncIterator[Stage]:
    """The program in node that has the telephones."""
    (folder / "files.json").write_bytes(msgspec.json.encode(files))
    where = [str(STAGE / "stage.mjs"), str(node_modules(STAGE)), str(folder / "files.json")]
    arguments = [*where, simulator, backend, APPID]
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    try:
        yield Stage(process)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def backend(gateway: str, key: str, log: Path) -> AsyncIterator[str]:
    """The example's backend as a process; its address. What it logs is in `log`."""
    settings = {"GATEWAY_URL": gateway, "GATEWAY_KEY": key, "APPID": APPID, "LISTEN": "127.0.0.1:0"}
    env = {**os.environ, **settings}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(EXAMPLE / "backend" / "backend.py"),
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        yield line.decode().split()[-1]
    finally:
        process.terminate()
        await process.wait()
