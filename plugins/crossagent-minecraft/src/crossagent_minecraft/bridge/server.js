// The embedded server: flying-squid for the protocol, the login and the blocks; digging, placing, windows, furnaces, items
// on the ground and (mobs.js) mobs are here, because the stock server lacks them or gets them wrong (it picks up twice, answers no click).
'use strict'
const squid = require('flying-squid')
const { Vec3 } = require('vec3')
const clock = require('./clock')
const wire = require('./wire')
const { Window, Recipes, LAYOUT } = require('./windows')
const { Mobs } = require('./mobs')

const VERSION = '1.16.5'
const GROUND = 3
const REACH = 6
const PICKUP_DELAY = 10
const THROWN_DELAY = 40
const ITEM_LIFE = 6000
const SMELT_TICKS = 200
const INVENTORY_TYPES = { crafting_table: 11, furnace: 13, chest: 2 }

class Server {
  /** `facts`: what crossagent_minecraft_data says of recipes, loot, furnaces; `chunks`: chunks along a side. */
  constructor (facts, chunks) {
    this.facts = facts
    this.chunks = chunks
    this.serv = squid.createMCServer({
      motd: 'crossagent', host: '127.0.0.1', port: 0, 'max-players': 1, 'online-mode': false, logging: false, gameMode: 0,
      difficulty: 1, generation: { name: 'empty', options: { seed: 1 } }, kickTimeout: 1e9, checkTimeoutInterval: 1e9,
      plugins: {}, 'view-distance': 1, 'player-list-text': { header: { text: '' }, footer: { text: '' } },
      'everybody-op': false, 'max-entities': 1000, version: VERSION, Server: wire.LocalServer
    })
    this.serv.on('error', error => process.stderr.write(`server: ${error.message}\n`))
    this.data = this.serv.registry
    this.Block = require('prismarine-block')(this.data)
    this.Item = require('prismarine-item')(this.data)
    this.Chunk = require('prismarine-chunk')(this.data)
    this.rules = {
      recipes: new Recipes(facts.recipes, facts.leftovers), smelts: facts.smelts, fuel: facts.fuel, worn: facts.worn,
      stack: item => this.data.itemsByName[item] ? this.data.itemsByName[item].stackSize : 64
    }
    this.slots = new Array(46).fill(null)
    this.inventory = new Window('inventory', this.slots, this.rules)
    this.window = null
    this.windowId = 0
    this.items = new Map()
    this.chests = new Map()
    this.furnaces = new Map()
    this.nextId = 1000
    this.held = 0
    this.mobs = new Mobs(this)
  }

  ready () { return this.serv.isReady }

  /** Let one bot in over `stream`. */
  accept (stream) {
    this.serv.getSpawnPoint = async () => new Vec3(8 * this.chunks, GROUND + 1, 8 * this.chunks)
    this.serv.on('newPlayer', player => { this.player = player; this.take(player) })
    for (let x = -1; x <= this.chunks; x++) for (let z = -1; z <= this.chunks; z++) this.serv.overworld.setLoadedColumn(x, z, this.base(x, z))
    this.serv._server.accept(stream)
  }

  joinedAt () { return this.player && this.player.spawnPoint }

  /** Once the bot is in: the chunks the stock server has not sent yet. */
  joined () {
    this.player.sendingChunks = true // the stock server would load and unload around the player; here all is sent
    for (let x = -1; x <= this.chunks; x++) for (let z = -1; z <= this.chunks; z++) this.send(x, z)
  }

  base (cx, cz) {
    const chunk = new this.Chunk()
    const inside = cx >= 0 && cz >= 0 && cx < this.chunks && cz < this.chunks
    const [barrier, floor] = [this.data.blocksByName.barrier.defaultState, this.data.blocksByName.stone.defaultState]
    const edge = 16 * this.chunks
    for (let x = 0; x < 16; x++) {
      for (let z = 0; z < 16; z++) {
        const [bx, bz] = [16 * cx + x, 16 * cz + z]
        if (inside) chunk.setBlockStateId(new Vec3(x, GROUND, z), floor)
        else if (bx >= -1 && bz >= -1 && bx <= edge && bz <= edge) for (let y = 0; y < 48; y++) chunk.setBlockStateId(new Vec3(x, y, z), barrier)
      }
    }
    return chunk
  }

  send (cx, cz) {
    const chunk = this.serv.overworld.getLoadedColumn(cx, cz)
    this.player.loadedChunks[`${cx},${cz}`] = 1
    this.player._client.write('map_chunk', {
      x: cx, z: cz, groundUp: true, bitMap: chunk.getMask(), biomes: chunk.dumpBiomes(), ignoreOldData: true,
      heightmaps: { type: 'compound', name: '', value: {} }, chunkData: chunk.dump(), blockEntities: []
    })
  }

  /** Build an episode's world: `scene` is [y, z, x] state ids. */
  build (scene, size, start, seed) {
    clock.random.state = seed | 0
    const [sx, sy, sz] = size
    const at = new Vec3(0, 0, 0)
    for (let cx = 0; cx < this.chunks; cx++) {
      for (let cz = 0; cz < this.chunks; cz++) {
        const chunk = new this.Chunk()
        for (let y = 0; y < sy; y++) {
          for (let z = 0; z < 16; z++) {
            let i = (y * sz + 16 * cz + z) * sx + 16 * cx
            for (let x = 0; x < 16; x++, i++) {
              const state = scene[i]
              if (!state) continue
              at.x = x; at.y = y; at.z = z
              chunk.setBlockStateId(at, state)
            }
          }
        }
        this.serv.overworld.setLoadedColumn(cx, cz, chunk)
        this.send(cx, cz)
      }
    }
    for (const [slot, name, count] of start.inventory) this.slots[slot] = [name, count]
    this.held = start.held
    this.player._client.write('held_item_slot', { slot: this.held })
    this.sync()
    this.player.position = new Vec3(...start.position)
    this.player.sendSelfPosition()
    this.mobs.begin(start.mobs, start)
  }

  // -- blocks ------------------------------------------------------------------------------------------------------
  state (x, y, z) {
    const chunk = this.serv.overworld.getLoadedColumn(x >> 4, z >> 4)
    return chunk && y >= 0 && y < 256 ? chunk.getBlockStateId(new Vec3(x & 15, y, z & 15)) : 0
  }

  set (x, y, z, state) {
    const chunk = this.serv.overworld.getLoadedColumn(x >> 4, z >> 4)
    if (!chunk || y < 0 || y > 255) return
    chunk.setBlockStateId(new Vec3(x & 15, y, z & 15), state)
    this.player._client.write('block_change', { location: { x, y, z }, type: state })
  }

  name (state) { return this.Block.fromStateId(state, 0).name }

  partner (state) {
    const block = this.Block.fromStateId(state, 0)
    const p = block.getProperties()
    const facing = { north: [0, 0, -1], south: [0, 0, 1], west: [-1, 0, 0], east: [1, 0, 0] }[p.facing]
    if (p.half === 'lower' || p.half === 'upper') return { offset: [0, p.half === 'lower' ? 1 : -1, 0], name: block.name, change: { half: p.half === 'lower' ? 'upper' : 'lower' }, props: p }
    if (p.part && facing) {
      const sign = p.part === 'foot' ? 1 : -1
      return { offset: facing.map(v => v * sign), name: block.name, change: { part: p.part === 'foot' ? 'head' : 'foot' }, props: p }
    }
    return null
  }

  break (x, y, z) {
    const state = this.state(x, y, z)
    const name = this.name(state)
    if (name === 'air' || name === 'barrier' || name === 'bedrock') return
    const tool = this.slots[36 + this.held] && this.slots[36 + this.held][0]
    const other = this.partner(state)
    this.set(x, y, z, this.facts.under_water.includes(name) ? this.data.blocksByName.water.defaultState : 0)
    if (other) {
      const [px, py, pz] = [x + other.offset[0], y + other.offset[1], z + other.offset[2]]
      if (this.name(this.state(px, py, pz)) === name) this.set(px, py, pz, 0)
    }
    this.leave(x, y, z, name, tool)
    const key = `${x},${y},${z}`
    const held = [...(this.chests.get(key) || []), ...(this.furnaces.has(key) ? this.furnaces.get(key).slots : [])]
    this.chests.delete(key)
    this.furnaces.delete(key)
    for (const s of held) if (s) this.popOut(x, y, z, s)
    for (let up = y + 1; this.facts.needs_floor.includes(this.name(this.state(x, up, z))); up++) {
      const fallen = this.name(this.state(x, up, z))
      this.set(x, up, z, 0)
      this.leave(x, up, z, fallen, null)
    }
  }

  /** Roll a block's loot and put it on the ground. */
  leave (x, y, z, name, tool) {
    const needed = this.facts.harvest[name]
    if (needed && !needed.includes(tool)) return
    const table = this.facts.loot[name]
    if (!table) {
      if (this.data.itemsByName[name] && this.data.blocksByName[name].hardness >= 0) this.popOut(x, y, z, [name, 1])
      return
    }
    for (const stack of this.roll(table, tool)) this.popOut(x, y, z, stack)
  }

  /** Roll a loot table: the first choice of each pool that applies. */
  roll (table, tool) {
    const random = clock.random
    const found = []
    for (const pool of table) {
      for (const choice of pool) {
        if ('tool' in choice && choice.tool !== tool) continue
        if ('p' in choice && random.next() >= choice.p) continue
        let count = 0
        if (choice.times) { for (let i = 0; i < choice.times[0]; i++) count += random.next() < choice.times[1] ? 1 : 0 } else count = random.integer(...(choice.n || [1, 1]))
        const item = choice.one_of ? random.pick(choice.one_of) : choice.item
        if (item && count > 0) found.push([item, count])
        break
      }
    }
    return found
  }

  // -- items on the ground -----------------------------------------------------------------------------------------
  popOut (x, y, z, stack) {
    const r = clock.random
    this.spawn(stack, [x + 0.5 + r.between(-0.2, 0.2), y + 0.4 + r.between(-0.2, 0.2), z + 0.5 + r.between(-0.2, 0.2)],
      [r.between(-0.05, 0.05), 0.2, r.between(-0.05, 0.05)], PICKUP_DELAY)
  }

  /** Leave a stack where a mob stood. */
  popAt (stack, at) {
    const r = clock.random
    this.spawn(stack, [...at], [r.between(-0.1, 0.1), 0.2, r.between(-0.1, 0.1)], PICKUP_DELAY)
  }

  /** Throw a stack along the player's view. */
  throw (stack) {
    const p = this.player.position
    const [yaw, pitch] = [this.view[0], this.view[1]]
    const flat = Math.cos(pitch)
    this.spawn(stack, [p.x, p.y + 1.32, p.z], [-0.3 * Math.sin(yaw) * flat, 0.1 - 0.3 * Math.sin(pitch), 0.3 * Math.cos(yaw) * flat], THROWN_DELAY)
  }

  spawn ([name, count], at, velocity, delay) {
    const id = this.nextId++
    this.items.set(id, { id, name, count, at, velocity, delay, age: 0, rest: false })
    this.player._client.write('spawn_entity', {
      entityId: id, objectUUID: `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`, type: this.data.entitiesByName.item.id,
      x: at[0], y: at[1], z: at[2], pitch: 0, yaw: 0, objectData: 1, velocity: { x: 0, y: 0, z: 0 }
    })
    this.describe(this.items.get(id))
  }

  describe (item) {
    this.player._client.write('entity_metadata', {
      entityId: item.id,
      metadata: [{ key: 7, type: 6, value: { present: true, itemId: this.data.itemsByName[item.name].id, itemCount: item.count } }]
    })
  }

  solid (x, y, z) {
    const block = this.Block.fromStateId(this.state(Math.floor(x), Math.floor(y), Math.floor(z)), 0)
    return block.shapes.some(b => x - Math.floor(x) >= b[0] && x - Math.floor(x) <= b[3] && y - Math.floor(y) < b[4] && y - Math.floor(y) >= b[1] && z - Math.floor(z) >= b[2] && z - Math.floor(z) <= b[5])
  }

  fall (item) {
    const [p, v] = [item.at, item.velocity]
    if (item.rest && this.solid(p[0], p[1] - 0.02, p[2])) return
    item.rest = false
    v[1] -= 0.04
    if (this.solid(p[0] + v[0], p[1] + 0.1, p[2])) v[0] = 0
    p[0] += v[0]
    if (this.solid(p[0], p[1] + 0.1, p[2] + v[2])) v[2] = 0
    p[2] += v[2]
    let ground = false
    if (v[1] < 0 && this.solid(p[0], p[1] + v[1], p[2])) {
      const y = p[1] + v[1]
      const block = this.Block.fromStateId(this.state(Math.floor(p[0]), Math.floor(y), Math.floor(p[2])), 0)
      p[1] = Math.floor(y) + Math.max(...block.shapes.map(b => b[4]))
      v[1] = 0
      ground = true
    } else p[1] += v[1]
    const drag = 0.98 * (ground ? 0.6 : 1)
    v[0] *= drag
    v[2] *= drag
    v[1] *= 0.98
    if (ground && Math.abs(v[0]) < 0.003 && Math.abs(v[2]) < 0.003) { v[0] = v[1] = v[2] = 0; item.rest = true; this.merge(item) }
    this.player._client.write('entity_teleport', { entityId: item.id, x: p[0], y: p[1], z: p[2], yaw: 0, pitch: 0, onGround: ground })
  }

  merge (item) {
    for (const other of this.items.values()) {
      if (other === item || !other.rest || other.name !== item.name || other.delay > PICKUP_DELAY || !item.count) continue
      const near = (axis, reach) => Math.abs(other.at[axis] - item.at[axis]) < reach
      if (!near(0, 0.75) || !near(2, 0.75) || !near(1, 0.3)) continue
      const moved = Math.min(item.count, this.rules.stack(item.name) - other.count)
      other.count += moved
      item.count -= moved
      if (moved) this.describe(other)
    }
    if (!item.count) this.remove(item)
  }

  remove (item) {
    this.items.delete(item.id)
    this.player._client.write('entity_destroy', { entityIds: [item.id] })
  }

  pickUp (item) {
    const p = this.player.position
    const [dx, dy, dz] = [item.at[0] - p.x, item.at[1] - p.y, item.at[2] - p.z]
    if (Math.abs(dx) >= 1.425 || Math.abs(dz) >= 1.425 || dy + 0.25 <= -0.5 || dy >= 2.3) return
    const left = this.give(item.name, item.count)
    if (left === item.count) return
    this.player._client.write('collect', { collectedEntityId: item.id, collectorEntityId: this.player.id, pickupItemCount: item.count - left })
    item.count = left
    if (left) this.describe(item)
    else this.remove(item)
    this.sync()
  }

  // -- the player's stacks -----------------------------------------------------------------------------------------
  /** The open window's slot of one of the player's stacks (36 + n: hotbar n, 9…35: the rest), and its list. */
  give (name, count) {
    const window = this.window || this.inventory
    const order = [...Array(9).keys()].map(i => window.main + 27 + i).concat([...Array(27).keys()].map(i => window.main + i))
    const held = window.main + 27 + this.held
    const equal = [held, ...order.filter(s => s !== held)]
    const most = this.rules.stack(name)
    for (const s of equal) {
      const stack = window.slots[s]
      if (!count || !stack || stack[0] !== name || stack[1] >= most) continue
      const moved = Math.min(count, most - stack[1])
      window.slots[s] = [name, stack[1] + moved]
      count -= moved
    }
    for (const s of order) {
      if (!count || window.slots[s]) continue
      const moved = Math.min(count, most)
      window.slots[s] = [name, moved]
      count -= moved
    }
    return count
  }

  notch (stack) {
    return stack ? { present: true, itemId: this.data.itemsByName[stack[0]].id, itemCount: stack[1], nbtData: undefined } : { present: false }
  }

  /** Send every slot, as a server does after a click it does not agree with; the client's picture is exact then. */
  sync () {
    const window = this.window || this.inventory
    if (this.window) for (let i = 0; i < 36; i++) this.slots[9 + i] = window.slots[window.main + i]
    const client = this.player._client
    client.write('window_items', { windowId: this.window ? this.windowId : 0, items: window.slots.map(s => this.notch(s)) })
    client.write('set_slot', { windowId: -1, slot: -1, item: this.notch(window.cursor) })
  }

  heldStack () { return this.slots[36 + this.held] }

  takeHeld (count) {
    const stack = this.heldStack()
    if (!stack) return null
    const taken = Math.min(count, stack[1])
    this.slots[36 + this.held] = stack[1] > taken ? [stack[0], stack[1] - taken] : null
    return [stack[0], taken]
  }

  after (window) {
    for (const [kind, name, count] of window.events.splice(0)) if (kind === 'drop') this.throw([name, count])
    this.sync()
  }

  open (kind, x, y, z) {
    if (this.window) this.close()
    this.windowId = (this.windowId % 100) + 1
    this.at = `${x},${y},${z}`
    const slots = new Array(LAYOUT[kind].size).fill(null)
    for (let i = 0; i < 36; i++) slots[LAYOUT[kind].main + i] = this.slots[9 + i]
    if (kind === 'chest') (this.chests.get(this.at) || []).forEach((s, i) => { slots[i] = s })
    if (kind === 'furnace') {
      if (!this.furnaces.has(this.at)) this.furnaces.set(this.at, { slots: [null, null, null], burn: 0, total: 0, progress: 0 })
      this.furnaces.get(this.at).slots.forEach((s, i) => { slots[i] = s })
    }
    this.window = new Window(kind, slots, this.rules)
    this.player._client.write('open_window', { windowId: this.windowId, inventoryType: INVENTORY_TYPES[kind], windowTitle: JSON.stringify({ translate: `container.${kind}` }) })
    this.sync()
    if (kind === 'furnace') this.fire(this.furnaces.get(this.at))
  }

  close () {
    const window = this.window || this.inventory
    window.close()
    if (this.window) {
      for (let i = 0; i < 36; i++) this.slots[9 + i] = window.slots[window.main + i]
      if (window.kind === 'chest') this.chests.set(this.at, window.slots.slice(0, 27))
      if (window.kind === 'furnace') this.furnaces.get(this.at).slots = window.slots.slice(0, 3)
    }
    this.window = null
    this.after(window)
  }

  fire (furnace) {
    const put = (property, value) => this.player._client.write('craft_progress_bar', { windowId: this.windowId, property, value })
    put(0, furnace.burn); put(1, furnace.total); put(2, furnace.progress); put(3, SMELT_TICKS)
  }

  burn (key, furnace) {
    const open = this.window && this.window.kind === 'furnace' && this.at === key
    const slots = open ? this.window.slots : furnace.slots
    const before = JSON.stringify([slots.slice(0, 3), furnace.burn, furnace.progress])
    const [raw, fuel, made] = slots
    if (furnace.burn) furnace.burn--
    let makes = raw ? this.facts.smelts[raw[0]] : null
    if (makes && made && !(made[0] === makes && made[1] < this.rules.stack(makes))) makes = null
    if (!furnace.burn && makes && fuel && this.facts.fuel[fuel[0]]) {
      furnace.burn = furnace.total = this.facts.fuel[fuel[0]]
      const left = this.facts.left_by_fuel[fuel[0]]
      slots[1] = fuel[1] > 1 ? [fuel[0], fuel[1] - 1] : left ? [left, 1] : null
    }
    if (!furnace.burn) furnace.progress = Math.max(0, furnace.progress - 2)
    else if (!makes) furnace.progress = 0
    else if (++furnace.progress === SMELT_TICKS) {
      furnace.progress = 0
      slots[0] = raw[1] > 1 ? [raw[0], raw[1] - 1] : null
      slots[2] = [makes, (made ? made[1] : 0) + 1]
    }
    if (open && JSON.stringify([slots.slice(0, 3), furnace.burn, furnace.progress]) !== before) {
      this.fire(furnace)
      if (JSON.stringify(slots.slice(0, 3)) !== JSON.stringify(JSON.parse(before)[0])) this.sync()
    }
  }

  // -- what the client asks for ------------------------------------------------------------------------------------
  take (player) {
    const client = player._client
    for (const event of ['block_dig', 'block_place', 'use_entity', 'window_click', 'close_window', 'use_item']) client.removeAllListeners(event)
    client.on('error', error => setImmediate(() => { throw error })) // a packet of ours that cannot be written
    this.view = [0, 0]
    const look = ({ yaw, pitch }) => { this.view = [yaw * Math.PI / 180, pitch * Math.PI / 180] }
    client.on('look', look)
    client.on('position_look', look)
    client.on('held_item_slot', ({ slotId }) => { this.held = slotId })
    client.on('use_entity', ({ target, mouse }) => { if (mouse === 1) this.mobs.hit(target) })
    client.on('block_dig', ({ status, location }) => this.digs(status, location))
    client.on('block_place', packet => this.places(packet))
    client.on('close_window', () => this.close())
    client.on('window_click', ({ windowId, slot, mouseButton, action, mode }) => {
      const window = windowId === 0 ? this.inventory : this.window
      client.write('transaction', { windowId, action, accepted: Boolean(window) })
      if (!window || slot >= window.slots.length) return
      window.click(mode, mouseButton, slot)
      this.after(window)
    })
  }

  near ({ x, y, z }) {
    const p = this.player.position
    return Math.hypot(x + 0.5 - p.x, y + 0.5 - p.y - 1.5, z + 0.5 - p.z) <= REACH
  }

  digs (status, location) {
    if (status === 2 && this.near(location)) this.break(location.x, location.y, location.z)
    else if (status === 3 || status === 4) {
      const stack = this.takeHeld(status === 3 ? 64 : 1)
      if (stack) this.throw(stack)
      this.sync()
    } else if (status === 6) {
      const held = this.slots[36 + this.held]
      this.slots[36 + this.held] = this.slots[45]
      this.slots[45] = held
      this.sync()
    }
  }

  places ({ location, direction }) {
    if (!this.near(location)) return
    let { x, y, z } = location
    const name = this.name(this.state(x, y, z))
    if (this.facts.interactive.includes(name) && !this.player.crouching) {
      if (INVENTORY_TYPES[name]) this.open(name, x, y, z)
      return
    }
    const stack = this.heldStack()
    if (!stack || !this.data.blocksByName[stack[0]]) return
    if (!this.facts.replaceable.includes(name)) {
      const [dx, dy, dz] = [[0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1], [-1, 0, 0], [1, 0, 0]][direction]
      x += dx; y += dy; z += dz
      if (!this.facts.replaceable.includes(this.name(this.state(x, y, z)))) return
    }
    const block = this.data.blocksByName[stack[0]]
    const p = this.player.position
    if (block.boundingBox === 'block' && p.x + 0.3 > x && p.x - 0.3 < x + 1 && p.z + 0.3 > z && p.z - 0.3 < z + 1 && p.y + 1.8 > y && p.y < y + 1) return
    const state = block.defaultState
    const other = this.partner(state)
    if (other) {
      const [px, py, pz] = [x + other.offset[0], y + other.offset[1], z + other.offset[2]]
      if (!this.facts.replaceable.includes(this.name(this.state(px, py, pz)))) return
      this.set(px, py, pz, this.Block.fromProperties(block.id, { ...other.props, ...other.change }, 0).stateId)
    }
    this.set(x, y, z, state)
    this.takeHeld(1)
    this.sync()
  }

  /** One server tick, after the client's: items, furnaces, mobs. */
  tick () {
    for (const item of [...this.items.values()]) {
      item.age++
      if (item.delay) item.delay--
      if (!item.count || item.age >= ITEM_LIFE || item.at[1] < -16) { this.remove(item); continue }
      this.fall(item)
      if (!item.delay && this.items.has(item.id)) this.pickUp(item)
    }
    for (const [key, furnace] of this.furnaces) this.burn(key, furnace)
    this.mobs.tick()
  }

  /** What only the server knows, for the state's hash. */
  hidden () {
    const stacks = map => [...map.entries()].sort((a, b) => a[0] < b[0] ? -1 : 1)
    return [clock.random.state, stacks(this.chests), stacks(this.furnaces), [...this.items.values()].map(i => [i.name, i.count, i.at, i.velocity, i.delay, i.age, i.rest]), this.mobs.hidden()]
  }
}

module.exports = { Server, VERSION }
