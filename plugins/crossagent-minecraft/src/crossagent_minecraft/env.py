"""The environment: episodes on a Minecraft server, the player's side of it being CraftWorld's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from crossagent.plugin import BridgeFailed, Observation, RawTick, Task, TickLimit, Unavailable
from crossagent_craftworld import setup, terrain
from crossagent_craftworld.env import NAMED_AMONG_MANY, CraftWorld
from crossagent_minecraft import connect
from crossagent_minecraft.link import Link
from crossagent_minecraft.mirror import Mirror
from crossagent_minecraft.node import missing
from crossagent_minecraft.pool import pool
from crossagent_minecraft_data.windows import SCREEN

CHUNK = 16


class Minecraft(CraftWorld):
    """Minecraft Java 1.16.5 by protocol, one player, CraftWorld's interfaces and observations.

    Args:
        mode: ``embedded``, a server of its own in lock-step; or ``connect``, a server that runs already, in real time.
        skills: ``basic`` or ``full``, as in CraftWorld.
        camera_quantum: Mouse pixels; movements are rounded to multiples of it. 0.15° each.
        camera_limit: Largest movement of one tick, a multiple of the quantum.
        scenes: Embedded: number of different landscapes.
        width: Embedded: blocks along a side of a landscape, a multiple of 16 in 32…96.
        terrain: Embedded: ``plains`` or ``biomes``, as in CraftWorld.
        level: Embedded: how hard targets are to find, as in CraftWorld.
        phrasing: How the suite tells its tasks, as in CraftWorld.
        observation: ``text``, ``pixels`` (the text is empty) or ``both``.
        image_size: Width and height of the picture, 64…2048 each.
        spare: Embedded: servers that are kept ready for the next episodes, per process.
        host: Connect: the server, in offline mode.
        port: Connect: its port.
        username: Connect: the player's name.
        radius: Connect: blocks around the player that he looks at.
    """

    name = "minecraft"

    def __init__(
        self,
        mode: Literal["embedded", "connect"] = "embedded",
        skills: Literal["basic", "full"] = "basic",
        camera_quantum: int = 6,
        camera_limit: int = 300,
        scenes: int = 64,
        width: int = 48,
        terrain: Literal["plains", "biomes"] = "plains",
        level: Literal[1, 2, 3] = 1,
        phrasing: Literal["plain", "varied", "held_out"] = "plain",
        observation: Literal["text", "pixels", "both"] = "text",
        image_size: Sequence[int] = SCREEN,
        spare: int = 1,
        host: str = "127.0.0.1",
        port: int = 25565,
        username: str = "crossagent",
        radius: int = 24,
    ) -> None:
        if mode not in ("embedded", "connect"):
            raise ValueError(f"mode: got {mode!r}; expected 'embedded' or 'connect'")
        if width % CHUNK or not 32 <= width <= 96:
            raise ValueError(f"width: got {width}; expected a multiple of {CHUNK} in 32…96")
        if not 0 <= spare <= 16:
            raise ValueError(f"spare: got {spare}; expected 0…16")
        if not 1 <= port <= 65535:
            raise ValueError(f"port: got {port}; expected 1…65535")
        if not 8 <= radius <= 48:
            raise ValueError(f"radius: got {radius}; expected 8…48")
        if problem := missing():  # said once, before a run begins, and not by each of its episodes
            raise Unavailable(problem)
        super().__init__(
            skills=skills,
            camera_quantum=camera_quantum,
            camera_limit=camera_limit,
            scenes=scenes,
            width=width,
            terrain=terrain,
            level=level,
            phrasing=phrasing,
            observation=observation,
            image_size=image_size,
        )
        self._mode, self._spare = mode, spare
        self._server = {"host": host, "port": port, "username": username, "radius": radius}
        self._link: Link | None = None
        self._start: dict[str, Any] = {}
        self._deferred: list[RawTick] = []

    # -- the episode ---------------------------------------------------------------------------------------------
    @property
    def world(self) -> Mirror:
        """The state of the present episode as the player's client knows it; for experts and tests, read only.

        Raises:
            TickLimit: Inside a :meth:`tick_limit` that is used up, when the last tick was never sent.
        """
        if self._deferred:
            if self._ticks_left == 0:
                raise TickLimit
            self._catch_up()
        world = super().world
        assert isinstance(world, Mirror)
        return world

    def reset(self, task: Task, seed: int) -> Observation:
        """Start an episode: embedded, a landscape and everything else drawn from (task name, seed)."""
        self.begin_episode()
        self._deferred = []
        self._task = task
        self._origin = f"{task.name}:{seed}"
        self.interface("pointer").reset()
        if self._mode == "connect":
            self._drop_link()  # a server lets a name in once
            self._link = Link("connect")
            self._world = connect.enter(self._link, self._server, task, self._hear)
            return self.observe()
        last = self._link
        self._world, self._link = self._embedded(task, seed)
        self._end(last)  # its world is renewed while this one is played in
        return self.observe()

    def _embedded(self, task: Task, seed: int) -> tuple[Mirror, Link]:
        digest = hashlib.blake2b(repr((task.name, seed)).encode(), digest_size=16).digest()
        kind = task.setup.get("terrain", self._terrain)
        scene = terrain.scene(int.from_bytes(digest[:8], "little") % self._scenes, self._width, kind)
        number = int.from_bytes(digest[8:], "little")
        world = Mirror(scene, number, self._hear)
        if self.level > 1 or kind != "plains":
            world.named = NAMED_AMONG_MANY
        setup.prepare(world, task.setup, self.camera_quantum, self.level)
        self._start = world.start_message(number)
        link = pool(self._width // CHUNK).take(self._spare)
        world.begin(link.call, link.call("reset", **self._start))
        return world, link

    def tick(self, raw: RawTick) -> None:
        """Advance one tick; every interface comes down to this. Does nothing once the episode is over.

        The last tick that a :meth:`tick_limit` allows is sent when something is looked at after it: lowering goes back
        right away, and then nothing has to be undone on the server.
        """
        if self.over:
            return
        if self._deferred:
            if self._ticks_left == 0:
                raise TickLimit
            self._catch_up()
            if self.over:
                return  # type: ignore[unreachable]  # catching up may have ended the episode
        self.begin_tick(raw)
        if self._ticks_left == 0:
            self._deferred.append(raw)
        else:
            self._play(raw)

    def _play(self, raw: RawTick) -> None:
        assert self._world is not None
        self._world.tick(raw)
        if len(self.tick_log) >= self.task.max_ticks and not self.terminated:
            self.truncated = True

    def _catch_up(self) -> None:
        ticks, self._deferred = self._deferred, []
        for raw in ticks:
            self._play(raw)

    # -- state ---------------------------------------------------------------------------------------------------
    def snapshot(self) -> Any:
        """Return the whole state; valid for :meth:`restore` on this object until the next reset."""
        return (len(self.world.sent), self.world.hidden_state, super().snapshot())

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot exactly: on the server by playing the episode again on a fresh one, if it went on.

        Raises:
            BridgeFailed: It did go on and cannot be played again (``connect``), or came out differently.
        """
        sent, hidden, mine = snapshot
        self._deferred = []
        world = super().world
        assert isinstance(world, Mirror)
        if mine[0] is world and len(world.sent) != sent:
            self._rewind(world, sent, hidden)
        super().restore(mine)
        world.hidden_state = hidden

    def _rewind(self, world: Mirror, sent: int, hidden: Any) -> None:
        if self._mode == "connect":
            raise BridgeFailed(
                "a server that is not ours cannot go back in time; lower one tick at a time, or use embedded"
            )
        self._drop_link()
        self._link = pool(self._width // CHUNK).take(self._spare)
        answer = self._link.call("reset", **self._start)
        world.sent = world.sent[:sent]
        if sent:
            answer = self._link.call("replay", ticks=world.sent)
        if answer["hidden"] != hidden:
            raise BridgeFailed(f"the episode came out differently when it was played again ({sent} ticks)")
        world.begin(self._link.call, answer)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        self._end(link)

    def _end(self, link: Link | None) -> None:
        if link is None:
            return
        if self._mode == "connect":
            link.close()
        else:
            # one more than is kept while a world is on: the stock's and this one's
            pool(self._width // CHUNK).give_back(link, self._spare + 1)

    def close(self) -> None:
        """End the server of this episode; what is in stock stays for the other worlds of this process."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
