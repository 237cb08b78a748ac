"""The console's pages: what they show, to whom, and what they do."""

from __future__ import annotations

from contracts.wechat import Verdict
from tests.gateway.console import Reader
from tests.gateway.world import ALL_KEY, World


async def test_try(world: World) -> None:
    await world.scene.open("a-1", title="团建")
    await world.scene.open("a/2", title="<script>x</script>")
    await world.scene.complete("a-1", "m")
    await world.scene.deliver("a-1", Verdict.unknown)
    await world.scene.complete("a/2", "n")
    reader = await Reader(world).signed_in()
    print(await reader.page("/console"))
    print(await reader.page("/console/cards"))
    print(await reader.page("/console/activities/a-1"))
    print(await reader.page("/console/activities/a%2F2?lang=zh"))
