"""Somebody becomes known in a room: the binding, and what waited for it (design.md §8, *Rooms*)."""

from __future__ import annotations

from contracts.events import Room
from services.store.ports import Store, Tx
from services.store.rooms import Binding, BindingKey
from services.store.rows import OutboxRow, Writes
from services.transactions.outgoing import derived_id, people_row
from statemachine.model import Unbound


async def bind(  # noqa: PLR0917 (a binding has so many parts)
    store: Store,
    appid: str,
    room: Room,
    openid: str,
    group_openid: str,
    nickname: str | None = None,
    avatar_url: str | None = None,
) -> int:
    """Say that this openid is this group_openid in this room of this app; how many events waited for that.

    They are in the outbox then, so the relay is to be kicked. The latest binding wins; a nickname or an
    avatar that is not given stays as it is. Raises `StoreUnavailable`: nothing happened, or it did and a
    repeat does no harm.
    """
    async with store.transaction() as tx:
        return await bind_in(tx, appid, room, openid, group_openid, nickname, avatar_url)


async def bind_in(  # noqa: PLR0917 (a binding has so many parts)
    tx: Tx,
    appid: str,
    room: Room,
    openid: str,
    group_openid: str,
    nickname: str | None = None,
    avatar_url: str | None = None,
) -> int:
    """The same in a transaction that does more; it locks no activity.

    An event that names the person holds the binding's row until its transaction is over: it finds him bound,
    or we find him waiting.
    """
    room_id = room.opengid or room.open_single_roomid or ""
    single = room.open_single_roomid is not None
    await tx.bind(Binding(appid, room_id, openid, single, group_openid, nickname, avatar_url))
    waited = await tx.take_unbound(BindingKey(appid, room_id, openid))
    if waited:
        now = await tx.now()
        out = Writes(outbox=[_known(each, group_openid, now) for each in waited])
        out.count("openids.bound", len(waited))
        await tx.write(out)
    return len(waited)


def _known(waited: Unbound, group_openid: str, now: int) -> OutboxRow:
    """The event once more, about this person alone and by the name that the activity knows."""
    id_ = known_id(waited)
    return people_row(waited.activity_id, id_, waited.type, [group_openid], time=waited.time, now=now)


def known_id(waited: Unbound) -> str:
    """The id of that event."""
    appid, room_id, openid, activity_id, source, id_, *_ = waited
    return derived_id("bound", activity_id, source, id_, appid, room_id, openid)
