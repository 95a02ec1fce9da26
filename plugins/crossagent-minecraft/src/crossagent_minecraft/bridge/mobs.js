// Mobs that walk and strike, by the rules of CraftWorld's mobs.py: they stroll, flee when hit or hunt whom they see, and
// leave their loot. Vanilla's server moves its mobs by rules of the same form; the stock one has none that think.
'use strict'
const clock = require('./clock')

const REACH = 3.5 // the client aims within 3; its position is rounded on the way
const FOLLOW = 16
const FAR_SIGHTED = { zombie: 35, husk: 35, drowned: 35, zombie_villager: 35, zombified_piglin: 35, enderman: 64, ravager: 32, vindicator: 12 }
const LOOK_EVERY = 5
const WANDER = 120
const STROLL = 6
const PANIC = 60
const RECOVER = 20
const STEP = 0.6
const TALL_STEP = ['iron_golem', 'horse', 'donkey', 'enderman']
const UNMOVED = ['iron_golem']
const GRAVITY = 0.08
const PLAYER = { half: 0.3, height: 1.8, eye: 1.62 }
const TO_PROTOCOL = 8000

class Mobs {
  /** `server` has state(x, y, z), Block, data, player, facts, popAt([name, count], at); `send` its packets. */
  constructor (server) {
    this.server = server
    this.all = new Map()
    this.shapes = new Map()
    this.time = 0
    this.since = 100
    this.weapon = null
    this.hurt = 0
    this.last = 0
    this.health = 20
  }

  /** Put an episode's mobs down: rows of [kind, x, y, z, yaw]. */
  begin (rows, { difficulty, resistance }) {
    this.difficulty = difficulty
    this.resistance = resistance
    for (const [kind, x, y, z, yaw] of rows) {
      const info = this.server.facts.mobs[kind]
      const id = this.server.nextId++
      const mob = {
        id, kind, info, x, y, z, vx: 0, vy: 0, vz: 0, half: info.width / 2, height: info.height, ground: false, wall: false,
        wet: false, step: TALL_STEP.includes(kind) ? 1 : STEP, health: info.health, yaw, angry: info.hostile, hunting: false,
        hurt: 0, last: 0, panic: 0, wait: 0, goal: null
      }
      this.all.set(id, mob)
      this.write('spawn_entity_living', {
        entityId: id, entityUUID: `00000000-0000-4000-9000-${String(id).padStart(12, '0')}`, type: this.server.data.entitiesByName[kind].id,
        x, y, z, yaw: 0, pitch: 0, headPitch: 0, velocity: { x: 0, y: 0, z: 0 }
      })
    }
  }

  write (name, packet) { this.server.player._client.write(name, packet) }

  tick () {
    this.time++
    this.since++
    const stack = this.server.heldStack()
    const weapon = stack ? stack[0] : null
    if (weapon !== this.weapon) { this.weapon = weapon; this.since = 0 }
    if (this.hurt) this.hurt--
    for (const mob of [...this.all.values()]) {
      const before = [mob.x, mob.y, mob.z, mob.yaw]
      this.act(mob)
      if (before.some((v, i) => v !== [mob.x, mob.y, mob.z, mob.yaw][i])) {
        const yaw = Math.round(mob.yaw * 128 / Math.PI) << 24 >> 24
        this.write('entity_teleport', { entityId: mob.id, x: mob.x, y: mob.y, z: mob.z, yaw, pitch: 0, onGround: mob.ground })
      }
    }
  }

  act (mob) {
    const random = clock.random
    if (mob.hurt) mob.hurt--
    if (mob.wait) mob.wait--
    const me = this.server.player.position
    const [dx, dz] = [me.x - mob.x, me.z - mob.z]
    const distance = Math.hypot(dx, dz)
    let pace = 0
    if (this.hunts(mob, distance)) {
      if (distance > 1e-6) mob.yaw = Math.atan2(-dx, dz)
      pace = distance > (mob.half + PLAYER.half) * 0.9 ? 1 : 0
      this.strike(mob, distance)
    } else if (mob.panic) {
      mob.panic--
      if (distance > 1e-6 && distance < 12) mob.yaw = Math.atan2(dx, -dz)
      pace = 1.5
    } else if (mob.goal) {
      const [gx, gz] = [mob.goal[0] - mob.x, mob.goal[1] - mob.z]
      if (gx * gx + gz * gz < 0.25 || random.next() < 0.01) mob.goal = null
      else { mob.yaw = Math.atan2(-gx, gz); pace = 1 }
    } else if (random.next() < 1 / WANDER) {
      mob.goal = [mob.x + random.between(-STROLL, STROLL), mob.z + random.between(-STROLL, STROLL)]
    }
    if (pace && !mob.angry && this.edge(mob)) { mob.goal = null; pace = 0 }
    this.walk(mob, pace)
  }

  hunts (mob, distance) {
    if (!mob.angry || this.health <= 0 || distance > (FAR_SIGHTED[mob.kind] || FOLLOW)) mob.hunting = false
    else if (!mob.hunting && (this.time + mob.id) % LOOK_EVERY === 0) mob.hunting = this.sees(mob)
    return mob.hunting
  }

  strike (mob, distance) {
    const me = this.server.player.position
    const range = Math.sqrt((4 * mob.half) ** 2 + 2 * PLAYER.half)
    if (mob.wait || !mob.info.attack || Math.hypot(distance, me.y - mob.y) > range || !this.sees(mob)) return
    mob.wait = 20
    let damage = mob.info.attack
    if (this.difficulty === 'easy') damage = Math.min(damage / 2 + 1, damage)
    else damage *= { peaceful: 0, normal: 1, hard: 1.5 }[this.difficulty]
    this.wound(damage, mob)
  }

  /** The player is struck: i-frames, armour, resistance, knockback. */
  wound (damage, mob) {
    const worn = [...this.server.slots.slice(5, 9)].filter(Boolean).map(s => this.server.facts.armor[s[0]] || [0, 0])
    damage = afterArmor(damage, worn.reduce((a, w) => a + w[0], 0), worn.reduce((a, w) => a + w[1], 0))
    damage *= 1 - 0.2 * Math.min(this.resistance, 5)
    if (damage <= 0 || this.health <= 0) return
    if (this.hurt > 10) {
      if (damage <= this.last) return
      [damage, this.last] = [damage - this.last, damage]
    } else {
      this.hurt = RECOVER
      this.last = damage
      const me = this.server.player
      const push = { vx: 0, vy: -GRAVITY, vz: 0, ground: true }
      knock(push, me.position.x - mob.x, me.position.z - mob.z, 0.4)
      const parts = [push.vx, push.vy, push.vz].map(v => Math.round(v * TO_PROTOCOL))
      this.write('entity_velocity', { entityId: me.id, velocity: { x: parts[0], y: parts[1], z: parts[2] } })
    }
    this.health = Math.max(0, this.health - damage)
    this.write('update_health', { health: this.health, food: 20, foodSaturation: 5 })
  }

  /** The player's blow lands on a mob. */
  hit (id) {
    const mob = this.all.get(id)
    const me = this.server.player.position
    if (!mob) return
    const [cx, cy, cz] = [clamp(me.x, mob.x - mob.half, mob.x + mob.half), clamp(me.y + PLAYER.eye, mob.y, mob.y + mob.height), clamp(me.z, mob.z - mob.half, mob.z + mob.half)]
    if (Math.hypot(cx - me.x, cy - me.y - PLAYER.eye, cz - me.z) > REACH) return
    const [full, speed] = this.server.facts.weapons[this.weapon] || [1, 4]
    const charge = clamp((this.since + 0.5) / (20 / speed), 0, 1)
    this.since = 0
    let damage = afterArmor(full * (0.2 + 0.8 * charge * charge), mob.info.armor, 0)
    if (mob.hurt > 10) {
      if (damage <= mob.last) return
      [damage, mob.last] = [damage - mob.last, damage]
    } else {
      mob.hurt = RECOVER
      mob.last = damage
      if (!UNMOVED.includes(mob.kind)) knock(mob, mob.x - me.x, mob.z - me.z, 0.4)
    }
    mob.health -= damage
    mob.hunting = mob.angry
    if (mob.info.neutral && mob.info.attack > 0) mob.angry = mob.hunting = true
    else if (!mob.angry) { mob.panic = PANIC; mob.goal = null }
    if (mob.health > 1e-9) { this.write('entity_status', { entityId: id, entityStatus: 2 }); return }
    this.all.delete(id)
    this.write('entity_status', { entityId: id, entityStatus: 3 })
    for (const stack of this.server.roll(mob.info.loot, null)) this.server.popAt(stack, [mob.x, mob.y, mob.z])
    this.write('entity_destroy', { entityIds: [id] })
  }

  // -- where it is -------------------------------------------------------------------------------------------------
  /** The boxes of a cell's block, absolute. */
  boxes (x, y, z) {
    const state = this.server.state(x, y, z)
    if (!state) return []
    if (!this.shapes.has(state)) {
      const block = this.server.Block.fromStateId(state, 0)
      this.shapes.set(state, { fluid: block.name === 'water' || block.name === 'lava', shapes: block.shapes })
    }
    return this.shapes.get(state).shapes.map(b => [x + b[0], y + b[1], z + b[2], x + b[3], y + b[4], z + b[5]])
  }

  fluid (x, y, z) {
    const [cx, cy, cz] = [Math.floor(x), Math.floor(y), Math.floor(z)]
    this.boxes(cx, cy, cz)
    const found = this.shapes.get(this.server.state(cx, cy, cz))
    return Boolean(found && found.fluid)
  }

  sees (mob) {
    const me = this.server.player.position
    const from = [mob.x, mob.y + mob.height / 2, mob.z]
    const way = [me.x - from[0], me.y + PLAYER.eye - from[1], me.z - from[2]]
    const steps = Math.ceil(Math.hypot(...way) * 5)
    for (let i = 1; i < steps; i++) {
      const [x, y, z] = from.map((v, k) => v + way[k] * i / steps)
      for (const b of this.boxes(Math.floor(x), Math.floor(y), Math.floor(z))) {
        if (x > b[0] && x < b[3] && y > b[1] && y < b[4] && z > b[2] && z < b[5]) return false
      }
    }
    return true
  }

  /** Strolling mobs turn at water and at drops of more than three blocks. */
  edge (mob) {
    const [x, y, z] = [Math.floor(mob.x - Math.sin(mob.yaw)), Math.floor(mob.y), Math.floor(mob.z + Math.cos(mob.yaw))]
    for (let below = 0; below < 4; below++) {
      if (this.fluid(x, y - below, z)) return !mob.wet
      if (this.boxes(x, y - below, z).length) return false
    }
    return true
  }

  walk (mob, pace) {
    const speed = mob.info.speed * mob.info.pace * pace
    mob.wet = this.fluid(mob.x, mob.y + 0.2, mob.z)
    if (pace && mob.ground && mob.wall) mob.vy = 0.42
    else if (mob.wet) mob.vy += 0.04
    const push = 0.98 * speed * (mob.wet ? 0.02 : mob.ground ? speed : 0.02)
    mob.vx += -Math.sin(mob.yaw) * push
    mob.vz += Math.cos(mob.yaw) * push
    const grounded = mob.ground
    this.move(mob)
    mob.vy = mob.wet ? mob.vy * 0.8 - 0.02 : (mob.vy - GRAVITY) * 0.98
    const drag = mob.wet ? 0.8 : grounded ? 0.546 : 0.91
    mob.vx = Math.abs(mob.vx * drag) < 0.003 ? 0 : mob.vx * drag
    mob.vz = Math.abs(mob.vz * drag) < 0.003 ? 0 : mob.vz * drag
  }

  /** Move by the velocity as vanilla does: y first, then the axes, and again a step higher where a wall is low. */
  move (mob) {
    const around = this.around(mob)
    const plain = slide(box(mob), [mob.vx, mob.vy, mob.vz], around)
    let made = plain
    const blocked = plain[0] !== mob.vx || plain[2] !== mob.vz
    if (blocked && (mob.ground || (plain[1] !== mob.vy && mob.vy < 0))) {
      const raised = slide(box(mob), [mob.vx, mob.step, mob.vz], around)
      const down = slide(box(mob).map((v, i) => v + raised[i % 3]), [0, -raised[1], 0], around)[1]
      if (Math.hypot(raised[0], raised[2]) > Math.hypot(plain[0], plain[2]) + 1e-9) made = [raised[0], raised[1] + down, raised[2]]
    }
    mob.x += made[0]; mob.y += made[1]; mob.z += made[2]
    mob.ground = mob.vy < 0 && plain[1] !== mob.vy
    mob.wall = made[0] !== mob.vx || made[2] !== mob.vz
    if (made[0] !== mob.vx) mob.vx = 0
    if (made[2] !== mob.vz) mob.vz = 0
    if (plain[1] !== mob.vy) mob.vy = 0
  }

  around (mob) {
    const [x0, y0, z0, x1, y1, z1] = box(mob)
    const found = []
    for (let x = Math.floor(x0 + Math.min(0, mob.vx)); x <= Math.floor(x1 + Math.max(0, mob.vx)); x++) {
      for (let y = Math.floor(y0 + Math.min(0, mob.vy)) - 1; y <= Math.floor(y1 + Math.max(mob.step, mob.vy)); y++) {
        for (let z = Math.floor(z0 + Math.min(0, mob.vz)); z <= Math.floor(z1 + Math.max(0, mob.vz)); z++) found.push(...this.boxes(x, y, z))
      }
    }
    return found
  }

  /** What only the server knows. */
  hidden () {
    const rows = [...this.all.values()].map(({ info, ...state }) => state)
    return [this.time, this.since, this.weapon, this.hurt, this.last, this.health, rows]
  }
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high)
const box = m => [m.x - m.half, m.y, m.z - m.half, m.x + m.half, m.y + m.height, m.z + m.half]

function afterArmor (damage, armor, toughness) {
  return damage * (1 - Math.min(20, Math.max(armor / 5, armor - damage / (2 + toughness / 4))) / 25)
}

function knock (body, dx, dz, strength) {
  const length = Math.hypot(dx, dz)
  if (length < 1e-9) return
  body.vx = body.vx / 2 + strength * dx / length
  body.vz = body.vz / 2 + strength * dz / length
  if (body.ground) { body.vy = Math.min(0.4, body.vy / 2 + strength); body.ground = false }
}

/** How far a box comes along [dx, dy, dz] among others. */
function slide (start, wanted, boxes) {
  const at = [...start]
  const made = [0, 0, 0]
  const order = Math.abs(wanted[0]) < Math.abs(wanted[2]) ? [1, 2, 0] : [1, 0, 2]
  for (const axis of order) {
    let d = wanted[axis]
    const [a, b] = [(axis + 1) % 3, (axis + 2) % 3]
    for (const other of boxes) {
      if (!d) break
      if (at[a + 3] <= other[a] + 1e-7 || at[a] >= other[a + 3] - 1e-7 || at[b + 3] <= other[b] + 1e-7 || at[b] >= other[b + 3] - 1e-7) continue
      if (d > 0 && at[axis + 3] <= other[axis] + 1e-7) d = Math.min(d, Math.max(0, other[axis] - at[axis + 3]))
      else if (d < 0 && at[axis] >= other[axis + 3] - 1e-7) d = Math.max(d, Math.min(0, other[axis + 3] - at[axis]))
    }
    made[axis] = d
    at[axis] += d
    at[axis + 3] += d
  }
  return made
}

module.exports = { Mobs, afterArmor, knock, slide }
