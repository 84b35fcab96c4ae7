"""One ArrInstance: its body runs the phases of a turn, one after the other, data flowing one way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from looparr.arr.act import Actor
from looparr.arr.fetch import Fetcher, Observation
from looparr.arr.history import download_ids
from looparr.arr.ledger import Ledger
from looparr.arr.limits import DAY, address, booked, cooled_down
from looparr.arr.links import Links
from looparr.arr.lookups import look_up_wanted
from looparr.arr.memory import Memory
from looparr.arr.plan import Plan, Situation, decide, planned
from looparr.arr.recall import recall
from looparr.arr.record import message, notes, status_block
from looparr.arr.removed import removals
from looparr.arr.report import held_back
from looparr.arr.rules import Rule, effective_rules
from looparr.arr.send import Right
from looparr.arr.sight import Fresh, of_another
from looparr.arr.spec import ArrSpec
from looparr.arr.standing import Standing, offline, read_only, standing, update_brake
from looparr.arr.surroundings import Surroundings
from looparr.arr.survey import Survey, Surveyor
from looparr.arr.tracked import Tracked
from looparr.arr.views import failure
from looparr.clients.failures import HttpReason
from looparr.engine.types import Event, Fenced, Outcome, Subject, Turn
from looparr.errors import Blocked, LoopError, Permanent
from looparr.store.store import STORE_UNAVAILABLE

SOON = 1.0
COMMIT_EVERY = 60.0


class Instance:
    """The body of one ArrInstance: fetch, classify, health, act, record."""

    def __init__(self, subject: Subject, around: Surroundings) -> None:
        self.uid = subject.ref.uid
        self.spec = cast("ArrSpec", subject.spec)
        self.around = around
        self.rules: tuple[Rule, ...] = effective_rules(self.spec)
        self.links = Links(subject.ref.namespace, self.spec, around)
        self.fetcher = Fetcher(self.links, self.spec)
        self.memory: Memory | None = None
        self.everything = True
        self._committed = 0.0

    def now(self) -> float:
        """Epoch seconds."""
        return self.around.clock.wall().timestamp()

    async def close(self, *, deleted: bool) -> None:
        """Let go of connections and claims; a deleted object's memory goes, too."""
        self.around.registry.release(self.uid)
        await self.links.close()
        if deleted:
            await self.around.store.forget(self.uid)

    async def run(self, turn: Turn) -> Outcome:
        """Do one turn. What was really done is recorded and reported even when the turn fails or is cut short."""
        try:
            return await self._run(turn)
        except (Fenced, LoopError) as error:
            if getattr(error, "reason", "") == STORE_UNAVAILABLE:
                self.memory = None
            raise
        except BaseException:
            # Cut short anywhere: the store knows what was begun and what was sent, this memory may not.
            self.memory = None
            raise

    async def _run(self, turn: Turn) -> Outcome:
        memory = await self._remembered(turn)
        observation = await self._fetch(turn, memory)
        survey, unread = await self._survey(turn, memory, observation)
        holds = standing(memory, observation, self.spec, self.now())
        ledger = Ledger(self.uid, self.spec, self.around.store, memory, observation, self.now, self.around.acted)
        error = await self._act(turn, observation, survey, holds, ledger)
        if observation.down:
            error = error or failure(observation.views, observation.down)
        outcome = await self._record(memory, observation, holds, ledger.events)
        if error := error or unread:
            turn.report(outcome)
            raise error
        return outcome

    async def _remembered(self, turn: Turn) -> Memory:
        """Give the memory; load it in the first turn, and after one that left it in doubt."""
        if self.memory is None:
            self.everything = True
            self.memory = await recall(self.around.store, turn, self.spec, self.rules, self.now())
        return self.memory

    async def _fetch(self, turn: Turn, memory: Memory) -> Observation:
        """Phase 1. A refused key or password makes the next turn read the Secrets anew."""
        if turn.triggered:
            self.links.retry_logins()
        try:
            if await self.links.open():
                self.fetcher.forget_settings()
            await self._claim(turn)
            return await self.fetcher.fetch(eager=bool(memory.intents), remembered=memory.current)
        except LoopError as error:
            if error.reason == HttpReason.UNAUTHORIZED:
                self.links.distrust()
                self.fetcher.forget_settings()
            raise

    async def _claim(self, turn: Turn) -> None:
        """Claim the Arr once it has taken our key: by a URL or a wrong key alone nobody keeps others from theirs."""
        try:
            await self.fetcher.prove()
        except (Blocked, Permanent):
            self.around.registry.release(self.uid)
            raise
        self.around.registry.claim(turn.subject, self.links.marks)

    async def _survey(self, turn: Turn, memory: Memory, observation: Observation) -> tuple[Survey, LoopError | None]:
        """Phases 2 and 3: classify and examine; look up what only a call can tell, and examine those again.

        Gives the first look-up that failed, too: that torrent stays unsettled, the others go on.
        """
        looked: dict[str, float] = memory.values.get("looked") or {}
        newcomers = observation.views.keys() - looked.keys()
        surveyor = Surveyor(
            spec=self.spec,
            rules=self.rules,
            memory=memory,
            observation=observation,
            now=self.now(),
            before=self._observe(memory, observation),
            edited=memory.values.get("edited") or {},
            owner_tag=self.around.owner_tag,
            everything=self.everything,
            newcomers=frozenset(newcomers),
        )
        for _ in surveyor.look():
            await asyncio.sleep(0)
        unread = await look_up_wanted(surveyor, self.around.clock.monotonic)
        self.fetcher.judged(observation)
        self.everything = False
        if newcomers:
            memory.put_value("looked", looked | dict.fromkeys(newcomers, self.now()))
        if surveyor.survey.imported:
            memory.add_total("imported", surveyor.survey.imported)
        update_brake(memory, turn.subject.annotations, self.now())
        return surveyor.survey, unread

    def _observe(self, memory: Memory, observation: Observation) -> dict[str, float]:
        """Let the observation clocks move on, each at most two intervals; give their readings before."""
        before = {name: memory.reading(name) for name in observation.views}
        for name, view in observation.views.items():
            last, view.link.observed_at = view.link.observed_at, view.snapshot.at
            if last is not None and not offline(view.snapshot.connection_status):
                memory.observe(name, min(max(0.0, view.snapshot.at - last), 2 * self.spec.interval_seconds))
        return before

    async def _act(
        self, turn: Turn, observation: Observation, survey: Survey, holds: Standing, ledger: Ledger
    ) -> LoopError | None:
        """Phase 4: decide, and carry out what was decided. Idle, it costs nothing. Gives what did not work."""
        memory = ledger.memory
        completed = self._to_nudge(memory, survey, holds)
        if not (survey.cases or memory.intents or completed):
            return None
        situation = await self._situation(memory, observation, holds)
        plan = self._plan(survey, observation, situation)
        ledger.events += held_back(memory, survey, plan, self.now())
        if not (plan or memory.intents or completed):
            return None
        right = Right(turn, self.around.clock.monotonic)
        await right.ask()
        actor = Actor(
            instance=self.uid,
            spec=self.spec,
            memory=memory,
            store=self.around.store,
            fetcher=self.fetcher,
            observation=observation,
            situation=situation,
            holds=holds,
            standing=survey.standing,
            ledger=ledger,
            right=right,
            now=self.now,
        )
        try:
            for part in (partial(actor.remove, plan.removals), partial(actor.nudge, completed)):
                try:
                    await part()
                except LoopError as error:
                    if error.reason == STORE_UNAVAILABLE:
                        raise
                    actor.failure = actor.failure or error
        finally:
            if ledger.events:
                turn.report(Outcome(events=tuple(ledger.events)))
        return actor.failure

    def _plan(self, survey: Survey, observation: Observation, situation: Situation) -> Plan:
        """Decide about the cases whose torrent is the one that the Arr means; the others are held back."""
        seen = Fresh({}, observation.queue)
        others = {}
        for key, case in survey.cases.items():
            torrent = case.torrent
            rows = seen.rows(download_ids(torrent.hash, torrent.infohash_v1, torrent.infohash_v2))
            if reason := of_another(case, rows, observation):
                others[key] = reason
        plan = decide((case for key, case in survey.cases.items() if key not in others), situation)
        return replace(plan, held={**plan.held, **others})

    async def _situation(self, memory: Memory, observation: Observation, holds: Standing) -> Situation:
        now = self.now()
        charges = {
            name: booked(await self.around.store.account(address(view.link.endpoint), now - DAY), now)
            for name, view in observation.views.items()
        }
        return Situation(
            spec=self.spec,
            now=now,
            warmup_until=holds.warmup_until,
            holds=holds.holds,
            charges=charges,
            planned=planned(memory.intents.values()),
            removed=removals(memory),
            last_blocklist=memory.values.get("last_blocklist"),
            busy=frozenset(memory.intents),
            categories={name: view.categories for name, view in observation.views.items()},
            tags={name: view.tags for name, view in observation.views.items()},
            owner_tag=self.around.owner_tag,
        )

    def _to_nudge(self, memory: Memory, survey: Survey, holds: Standing) -> list[Tracked]:
        """Give the completed torrents that the Arr has to be told of; within the cooldown they wait."""
        waiting = [one for one in survey.completed if not one.nudged]
        if read_only(self.spec, holds) or not waiting:
            return []
        cooldown = self.spec.cooldowns_effective.after_import_seconds
        return waiting if cooled_down(memory.values.get("last_nudge"), cooldown, self.now()) else []

    async def _record(
        self, memory: Memory, observation: Observation, holds: Standing, events: Sequence[Event]
    ) -> Outcome:
        """Phase 5: commit the memory, then say what is true."""
        now, store = self.now(), self.around.store
        memory.sweep(now)
        news = memory.has_news or now - self._committed > COMMIT_EVERY
        if news:
            memory.put_value("sequence", int(memory.values.get("sequence") or 0) + 1)
        epoch = f"{store.epoch}:{memory.values.get('sequence') or 0}"
        block = status_block(memory, observation, self.spec, holds, now=now, epoch=epoch)
        if news:  # after the block: what no status can say is not kept either
            await store.commit(self.uid, memory.changes())
            self._committed = now
        return Outcome(
            message=message(memory, holds, now=now),
            block=block,
            notes=notes(holds, durable=store.durable),
            events=tuple(events),
            next_delay=SOON if memory.in_flight else None,
        )
