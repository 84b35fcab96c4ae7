"""Phase 4: carry out a plan, one small verified step at a time.

Before anything is sent the torrents and the whole queue are read again (sight.py) and judged again (judge.py); the
intent and the charge are durable before the call (send.py); what a call answered is not believed, the next turn looks.
So being killed anywhere, even between two lines, repeats nothing: intents.py decides from what is seen.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from looparr.arr.fetch import Fetcher, Observation
from looparr.arr.history import download_ids
from looparr.arr.intents import Act, Intent, Next, Phase, Sight, Step, next_step
from looparr.arr.judge import judge, keeps_data
from looparr.arr.ledger import Ledger
from looparr.arr.limits import NO_ROOM, cooled_down
from looparr.arr.memory import Memory
from looparr.arr.plan import Case, Situation, intent_of
from looparr.arr.send import Answer, Right, Sender, batches
from looparr.arr.sight import Eyes, Fresh, look_again, look_up, of_another, read_fresh, rows_of
from looparr.arr.spec import ArrSpec
from looparr.arr.standing import Standing, read_only
from looparr.arr.states import State
from looparr.arr.tracked import Key, Tracked
from looparr.clients.failures import ONE_ONLY
from looparr.clients.servarr_wire import QueueRow
from looparr.errors import LoopError
from looparr.store.store import Store

LOG = logging.getLogger(__name__)
NO_ROW_HOLD = 300.0
_CHANGING = frozenset({Step.SEND, Step.CLIENT_DELETE, Step.MARK_FAILED, Step.SEARCH})


@dataclass(slots=True)
class Actor:
    """Carries out the plans of one instance in one turn. standing: the cases that open intents still stand on.

    holds: what keeps removals back. failure: what did not work while the rest went on.
    """

    instance: str
    spec: ArrSpec
    memory: Memory
    store: Store
    fetcher: Fetcher
    observation: Observation
    situation: Situation
    holds: Standing
    standing: Mapping[Key, Case]
    ledger: Ledger
    right: Right
    now: Callable[[], float]
    failure: LoopError | None = None
    _begun: dict[Key, Case] = field(default_factory=dict)
    _eyes: Eyes = field(init=False)
    _sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        self._eyes = Eyes(self.fetcher, self.observation, self.memory)
        self._sender = Sender(self.fetcher, self.observation, self.right)

    async def remove(self, cases: Sequence[Case]) -> None:
        """Look once more, begin what still has to be removed, and take every open removal a step further."""
        keys = [*(case.key for case in cases), *self.memory.intents]
        if not keys:
            return
        self.observation = await look_again(self.observation, self.right.monotonic)
        self._eyes = Eyes(self.fetcher, self.observation, self.memory)
        fresh = await read_fresh(self.fetcher, self.observation, keys)
        await self.begin(cases, fresh)
        await self.advance(fresh)

    async def nudge(self, completed: Sequence[Tracked]) -> None:
        """Tell the Arr once that downloads are complete. Raises LoopError; then they are told of again."""
        if not completed or self._sender.failure is not None:
            return
        await self.right.ask()
        LOG.info("telling the Arr of completed downloads, instance=%s count=%d", self.instance, len(completed))
        await self._sender.refresh()
        self.memory.put_value("last_nudge", self.now())
        for one in completed:
            one.nudged = True
            self.memory.dirty.add(one.key)
            self.memory.move(one, State.IMPORTING, self.now())

    async def begin(self, cases: Sequence[Case], fresh: Fresh) -> None:
        """Judge each planned removal again on fresh values, and make it an intent if it still stands."""
        for case in cases:
            one = self.memory.tracked[case.key]
            try:
                again, reason = await self._judge_anew(case, one, fresh)
                rows = self._rows(again, fresh)
                reason = reason or of_another(again, rows, self.observation)
                intent = None if reason or self._missing_row(case, rows) else await self._intent(again, rows)
            except LoopError as error:
                self._pass_over(error)
                continue
            if intent is None:
                one.why = reason or "NoQueueRow: the Arr's queue does not show it, which proves nothing"
                one.hold_until = one.hold_until if reason else self.now() + NO_ROW_HOLD
                continue
            if not await self.ledger.begin(intent):
                one.why = NO_ROOM
                continue
            self._begun[case.key] = again
            self.memory.intents[case.key] = intent
            self.memory.waiting.discard(case.key)
            one.why = f"{intent.act}: {intent.reason}"
            self.memory.move(one, State.FAILED, self.now())

    async def advance(self, fresh: Fresh) -> None:
        """Take every open intent one step further; one that cannot be looked at now does not keep the others back."""
        sends: list[Intent] = []
        for key, intent in list(self.memory.intents.items()):
            if key.client not in self.observation.clients:
                self.ledger.dropped(key, intent, "NoClient: its client is not in spec.downloadClients any more")
                continue
            if doubt := self._eyes.in_doubt(intent):
                LOG.info("an open removal waits, torrent=%s why=%s", intent.name, doubt)
                continue
            try:
                sight = await self._eyes.look(intent, fresh)
                wanted, step = await self._next(key, intent, sight, fresh)
            except LoopError as error:
                self._pass_over(error)
                continue
            if step.step is Step.SEND:
                sends.append(wanted)
            elif self._sender.failure is None or step.step not in _CHANGING:
                await self._step(key, wanted, sight, step)
        await self._send(sends)
        self.failure = self._sender.failure or self.failure

    def _pass_over(self, error: LoopError) -> None:
        """Go on with the others when only one item is at fault; the turn fails all the same, so that people see it."""
        if error.reason not in ONE_ONLY:
            raise error
        self.failure = self.failure or error

    # --- judging -------------------------------------------------------------------------------------------------

    async def _judge_anew(self, case: Case, one: Tracked, fresh: Fresh) -> tuple[Case, str]:
        """Look up privacy and trackers again, too, once in a turn, and judge."""
        torrent, view = fresh.torrent(case.key), self.observation.views[case.key.client]
        there = torrent is not None and torrent.added_on == case.key.added_on
        if torrent is not None and there and case.key not in self._begun:
            self.memory.learn(one, await look_up(view.link.client, torrent))
        return judge(case, torrent, one, view, self.situation)

    def _rows(self, case: Case, fresh: Fresh) -> tuple[QueueRow, ...]:
        torrent = case.torrent
        return fresh.rows(download_ids(torrent.hash, torrent.infohash_v1, torrent.infohash_v2))

    @staticmethod
    def _missing_row(case: Case, rows: Sequence[QueueRow]) -> bool:
        return case.act is Act.REPLACE and not rows

    async def _next(self, key: Key, intent: Intent, sight: Sight, fresh: Fresh) -> tuple[Intent, Next]:
        """Decide the next step; before each one that destroys, whether and how much is still wanted."""
        step = next_step(intent, sight, self.now())
        if step.step in {Step.SEND, Step.CLIENT_DELETE}:
            intent, reason = await self._still_wanted(key, intent, fresh)
            step = Next(Step.DROP, reason) if reason else step
        if step.step in _CHANGING and (why := read_only(self.spec, self.holds, step.step)):
            step = Next(Step.DROP if intent.phase is Phase.PLANNED else Step.WAIT, why)
        return intent, step

    async def _still_wanted(self, key: Key, intent: Intent, fresh: Fresh) -> tuple[Intent, str]:
        """Judge an intent again: "" when it still stands. Its data stays if somebody needs it by now."""
        case = self._begun.get(key) or self.standing.get(key)
        if case is None or case.act is not intent.act:
            return intent, f"Recovered: {intent.rule} does not ask for it any more"
        if case.goal is not None and case.asked_by != intent.rule:
            return intent, f"GoalChanged: goal {intent.rule} asked for it, and now {case.asked_by} applies"
        again, reason = await self._judge_anew(case, self.memory.tracked[key], fresh)
        reason = reason or of_another(again, rows_of(intent, fresh), self.observation)
        if not reason and intent.delete_data and keeps_data(again, self.observation):
            intent = replace(intent, delete_data=False)
        return intent, reason

    async def _intent(self, case: Case, rows: Sequence[QueueRow]) -> Intent:
        """Write down what is about to be done, and what the Arr shows before it."""
        grab = case.download.grab
        assert grab is not None
        items = sorted(grab.items | {item for row in rows for item in row.item_ids})
        return intent_of(
            case,
            items,
            await self._eyes.searched_before(items) if case.act is Act.REPLACE else {},
            id_=str(uuid.uuid4()),
            endpoint=self.ledger.endpoint(case.key.client),
            now=self.now(),
            delete_data=not keeps_data(case, self.observation),
        )

    # --- doing ---------------------------------------------------------------------------------------------------

    async def _step(self, key: Key, intent: Intent, sight: Sight, step: Next) -> None:
        if step.step in _CHANGING:
            await self.right.ask()
        match step.step:
            case Step.CLIENT_DELETE:
                if not (await self._last_look([intent], needs_row=False))[0]:
                    return
                intent = await self._enter(key, intent, Phase.CLIENT_DELETE)
                LOG.warning("deleting in the client what the Arr blocklisted, torrent=%s", intent.name)
                await self._sender.delete(intent.client, [intent.hash], delete_files=intent.delete_data)
            case Step.MARK_FAILED:
                intent = await self._enter(key, replace(intent, marked=True), Phase.MARK_FAILED)
                LOG.warning("marking as failed what left without a blocklist entry, torrent=%s", intent.name)
                await self._sender.mark_failed(intent.history_id)
            case Step.SETTLED:
                self.ledger.settled(key, intent)
                await self._enter(key, replace(intent, attempts=0), Phase.REMOVED)
            case Step.SEARCH:
                await self._search(key, intent, sight.searchable)
            case Step.FINISH:
                self.ledger.finished(key, intent, step.why)
            case Step.DROP:
                self.ledger.dropped(key, intent, step.why, gone=not sight.present)
            case _:
                return

    async def _enter(self, key: Key, intent: Intent, phase: Phase) -> Intent:
        """Make everything noted so far, then the phase, durable before its call; a phase tried again counts up."""
        attempts = intent.attempts + 1 if intent.phase is phase else 1
        intent = replace(intent, phase=phase, attempts=attempts, since=self.now())
        await self.store.commit(self.instance, self.memory.changes())
        await self.store.set_intent_phase(self.instance, intent.id, phase, intent.detail())
        self.memory.intents[key] = intent
        return intent

    async def _send(self, intents: Iterable[Intent]) -> None:
        """Look a last time, charge, journal, log, then send, a batch at a time; what a call answers is not believed."""
        for batch in batches(intents):
            if self._sender.failure is not None:
                return
            await self.right.ask()
            standing, fresh = await self._last_look(batch, needs_row=batch[0].act is Act.REPLACE)
            if entered := [one for intent in standing if (one := await self._charge(intent)) is not None]:
                await self._remove(entered, fresh)

    async def _last_look(self, batch: Sequence[Intent], *, needs_row: bool) -> tuple[list[Intent], Fresh]:
        """Give those that stand on values read just now: judging took many calls. The others wait for the next turn."""
        self.observation = await look_again(self.observation, self.right.monotonic)
        fresh = await read_fresh(self.fetcher, self.observation, [_key(intent) for intent in batch])
        return [
            one for one in batch if self._still_stands(one, fresh) and (rows_of(one, fresh) or not needs_row)
        ], fresh

    def _still_stands(self, intent: Intent, fresh: Fresh) -> bool:
        """Whether nothing has changed since it was judged, the fate of its data neither."""
        key = _key(intent)
        case, view = self._begun.get(key) or self.standing[key], self.observation.views[key.client]
        again, reason = judge(case, fresh.torrent(key), self.memory.tracked[key], view, self.situation)
        reason = reason or of_another(again, rows_of(intent, fresh), self.observation)
        if not reason and intent.delete_data and keeps_data(again, self.observation):
            reason = "its data is needed by now"
        if reason:
            LOG.info("a removal waits, something changed just before it, torrent=%s why=%s", intent.name, reason)
        return not reason

    async def _charge(self, intent: Intent) -> Intent | None:
        """Make durable that an intent is sent; None when its limits were lowered since, so that it is given up."""
        if intent.phase is Phase.PLANNED and not await self.ledger.charge(intent):
            self.ledger.dropped(_key(intent), intent, NO_ROOM)
            return None
        LOG.warning("removing torrent=%s act=%s reason=%s", intent.name, intent.act, intent.reason)
        return await self._enter(_key(intent), intent, Phase.SENT)

    async def _remove(self, batch: Sequence[Intent], fresh: Fresh) -> None:
        """Send one batch; one that names a stale row has done nothing."""
        first = batch[0]
        if first.act is Act.DELETE:
            await self._sender.delete(first.client, [one.hash for one in batch], delete_files=first.delete_data)
            return
        rows = [rows_of(intent, fresh)[0].id for intent in batch]
        if await self._sender.remove(rows, from_client=first.delete_data) is Answer.STALE:
            await self._singly(batch)

    async def _singly(self, intents: Iterable[Intent]) -> None:
        """Nothing was done because of one stale row: each is sent on its own after a fresh look."""
        for intent in intents:
            if not intent.single:
                again = replace(intent, phase=Phase.PLANNED, single=True)
                await self.store.set_intent_phase(self.instance, again.id, again.phase, again.detail())
                self.memory.intents[_key(again)] = again

    async def _search(self, key: Key, intent: Intent, items: Sequence[int]) -> None:
        """Send our one search for what was removed, within its own limits."""
        one = self.memory.tracked.get(key)
        if not (self._searches_rested(items) and await self.ledger.charge_search(intent, items)):
            if one is not None:
                one.next_action = "Search: waits for its limit of five items an hour or spec.cooldowns.afterSearch"
            return
        await self._enter(key, intent, Phase.SEARCH)
        if one is not None:
            self.memory.move(one, State.RE_SEARCHING, self.now())
        LOG.info("searching again for what was removed, torrent=%s items=%s", intent.name, list(items))
        await self._sender.search(items)

    def _searches_rested(self, items: Sequence[int]) -> bool:
        """Whether the last search of any of these items is long enough ago."""
        sent = [row for row in self.memory.actions if row.action == "Search" and row.result == "Sent"]
        last = max((row.at for row in sent if set(row.items) & set(items)), default=None)
        return cooled_down(last, self.spec.cooldowns_effective.after_search_seconds, self.now())


def _key(intent: Intent) -> Key:
    return Key(intent.client, intent.hash, intent.added_on)
