// The player's side of the protocol, the same against our server and any other: inputs of one tick in, what the client
// knows out. Windows are kept here (the protocol leaves their clicks to be predicted), positions and blocks by mineflayer.
'use strict'
const mineflayer = require('mineflayer')
const { Window, LAYOUT } = require('./windows')

const KINDS = { 11: 'crafting_table', 13: 'furnace', 2: 'chest' }
const CONTROLS = ['forward', 'back', 'left', 'right', 'jump', 'sprint', 'sneak']
/** How minecraft-data calls the types of living things; 1.16's newest have none. */
const MOBS = ['mob', 'hostile', 'animal', 'passive', 'water_creature', 'ambient', 'UNKNOWN']
const PIXEL = 0.15 * Math.PI / 180
/** Ticks within which what a click takes from a result has to arrive. */
const CLAIM = 20
/** Ticks within which a server that refuses a broken block puts it back. */
const CONFIRM = 4

class Bot {
  constructor (options, rules) {
    this.rules = rules
    this.bot = mineflayer.createBot({ version: '1.16.5', auth: 'offline', hideErrors: true, logErrors: false, respawn: false, checkTimeoutInterval: 1e9, ...options })
    this.spawned = false
    this.ended = null
    this.bot.once('spawn', () => { this.spawned = true })
    this.bot.on('kicked', reason => { this.ended = this.ended || `kicked: ${String(reason).slice(0, 200)}` })
    this.bot.on('error', error => { this.ended = this.ended || `connection: ${error.message}` })
    this.bot.on('end', reason => { this.ended = this.ended || `the server closed the connection (${reason})` })
    this.events = []
    this.blocks = new Map()
    this.actionId = 1
    this.ticks = 0
    this.digging = []
    this.crafts = []
    this.hits = new Map()
    this.fire = [0, 0, 0, 200]
    this.at = null
    this.inventory = new Window('inventory', new Array(46).fill(null), rules)
    this.window = null
    this.windowId = 0
    this.pending = null
    this.listen()
  }

  stack (item) { return item && item.present ? [this.bot.registry.items[item.itemId].name, item.itemCount] : null }

  notch (stack) {
    return stack ? { present: true, itemId: this.bot.registry.itemsByName[stack[0]].id, itemCount: stack[1], nbtData: undefined } : { present: false }
  }

  listen () {
    const client = this.bot._client
    client.on('open_window', ({ windowId, inventoryType }) => {
      this.windowId = windowId
      this.pending = KINDS[inventoryType] || null
      this.window = null
      if (!this.pending) client.write('close_window', { windowId }) // a window we cannot show is one the player has no use for
    })
    client.on('window_items', ({ windowId, items }) => {
      if (windowId === 0) { this.put(this.inventory, items); return }
      if (windowId !== this.windowId || !this.pending) return
      if (!this.window) {
        this.window = new Window(this.pending, new Array(LAYOUT[this.pending].size).fill(null), this.rules)
        this.at = this.used
      }
      this.put(this.window, items)
      this.carry()
    })
    client.on('set_slot', ({ windowId, slot, item }) => {
      if (windowId === -1) { (this.window || this.inventory).cursor = this.stack(item); return }
      const window = windowId === 0 ? this.inventory : windowId === this.windowId ? this.window : null
      if (!window || slot < 0 || slot >= window.slots.length) return
      window.slots[slot] = this.stack(item)
      if (window === this.window) this.carry()
    })
    client.on('close_window', () => this.forget())
    client.on('craft_progress_bar', ({ property, value }) => { this.fire[property] = value })
    client.on('transaction', ({ windowId, action, accepted }) => { if (!accepted) client.write('transaction', { windowId, action, accepted: true }) })
    client.on('collect', ({ collectedEntityId, collectorEntityId, pickupItemCount }) => {
      const entity = this.bot.entities && this.bot.entities[collectedEntityId]
      const item = entity && this.dropped(entity)
      if (item && this.bot.entity && collectorEntityId === this.bot.entity.id) this.events.push(['pickup', item[0], pickupItemCount || item[1]])
    })
    client.on('entity_status', ({ entityId, entityStatus }) => {
      const entity = this.bot.entities && this.bot.entities[entityId]
      if (entityStatus === 3 && entity && this.hits.has(entityId)) this.events.push(['kill_entity', entity.name, 1])
    })
    this.bot.on('death', () => this.events.push(['death', 'player', 1]))
  }

  put (window, items) { items.forEach((item, i) => { if (i < window.slots.length) window.slots[i] = this.stack(item) }) }
  /** Take over the player's part of the open window. */
  carry () { for (let i = 0; i < 36; i++) this.inventory.slots[9 + i] = this.window.slots[this.window.main + i] }
  forget () { this.window = null; this.pending = null; this.at = null; this.fire = [0, 0, 0, 200] }

  dropped (entity) {
    const row = (entity.metadata || []).find(m => m && typeof m === 'object' && 'itemId' in m)
    return row ? [this.bot.registry.items[row.itemId].name, row.itemCount] : null
  }

  /** Follow block changes; `box` (x0, y0, z0, x1, y1, z1) is what the caller mirrors. */
  watch (box) {
    const [x0, y0, z0, x1, y1, z1] = box
    this.bot.world.on('blockUpdate', (before, after) => {
      const p = (after || before).position
      if (p.x < x0 || p.y < y0 || p.z < z0 || p.x >= x1 || p.y >= y1 || p.z >= z1) return
      this.blocks.set(`${p.x},${p.y},${p.z}`, [p.x, p.y, p.z, after ? after.stateId : 0])
    })
  }

  /** Every state id in a box, [y, z, x]; unloaded is air. */
  volume (box) {
    const [x0, y0, z0, x1, y1, z1] = box
    const out = new Uint16Array((x1 - x0) * (y1 - y0) * (z1 - z0))
    const at = this.bot.entity.position.clone()
    let i = 0
    for (at.y = y0; at.y < y1; at.y++) for (at.z = z0; at.z < z1; at.z++) for (at.x = x0; at.x < x1; at.x++) out[i++] = this.bot.world.getBlockStateId(at) || 0
    return out
  }

  /** Apply what the player does in this tick, before it passes. */
  act ({ keys, look, ops }) {
    const bot = this.bot
    for (const control of CONTROLS) bot.setControlState(control, keys.includes(control))
    const [yaw, pitch] = [Math.PI - look[0] * PIXEL, -look[1] * PIXEL]
    bot.look(yaw, pitch, true).catch(() => {}) // tells the server at once; it rounds, so the view is set exactly after
    bot.entity.yaw = yaw
    bot.entity.pitch = pitch
    for (const [op, ...args] of ops) this[`do_${op}`](...args)
  }

  do_slot (n) { this.bot.setQuickBarSlot(n) }

  do_dig (status, x, y, z, face) {
    const block = this.bot.blockAt(this.bot.entity.position.clone().set(x, y, z)) // before: an answer may come at once
    this.bot._client.write('block_dig', { status, location: { x, y, z }, face })
    this.bot._client.write('arm_animation', { hand: 0 })
    if (status !== 2 || !block) return
    const now = this.bot.blockAt(block.position)
    const predicted = Boolean(now) && now.name === block.name
    // a server says nothing to the digger when it agrees: the block is gone unless it comes back
    if (predicted) this.bot._updateBlockState(block.position, 0)
    this.digging.push([x, y, z, block.name, predicted ? this.ticks + CONFIRM : 0])
  }

  do_attack (id) {
    this.hits.set(id, this.ticks)
    this.bot._client.write('use_entity', { target: id, mouse: 1, sneaking: this.bot.getControlState('sneak') })
    this.bot._client.write('arm_animation', { hand: 0 })
  }

  do_use (x, y, z, face, cx, cy, cz) {
    this.used = [x, y, z]
    this.bot._client.write('block_place', { location: { x, y, z }, direction: face, hand: 0, cursorX: cx, cursorY: cy, cursorZ: cz, insideBlock: false })
    this.bot._client.write('arm_animation', { hand: 0 })
  }

  do_item () { this.bot._client.write('use_item', { hand: 0 }) }
  do_drop (all) { this.bot._client.write('block_dig', { status: all ? 3 : 4, location: { x: 0, y: 0, z: 0 }, face: 0 }) }
  do_swap () { this.bot._client.write('block_dig', { status: 6, location: { x: 0, y: 0, z: 0 }, face: 0 }) }

  do_close () {
    this.bot._client.write('close_window', { windowId: this.window ? this.windowId : 0 })
    const window = this.window || this.inventory
    window.close()
    window.events.length = 0
    if (this.window) this.carry()
    this.forget()
  }

  do_click (slot, button, mode) {
    const window = this.window || this.inventory
    const before = slot >= 0 ? window.slots[slot] : null
    const took = slot === 0 && window.grid && before ? 'craft_item' : slot === 2 && window.kind === 'furnace' && before ? 'smelt_item' : null
    if (took) this.crafts.push([took, before[0], this.total(before[0], slot), this.ticks + CLAIM])
    window.click(mode, button, slot) // the prediction; what the server sends afterwards holds
    window.events.length = 0
    this.bot._client.write('window_click', {
      windowId: this.window ? this.windowId : 0, slot, mouseButton: button, action: this.actionId++ & 0x7fff, mode,
      item: this.notch(mode === 5 ? null : before)
    })
    if (this.window) this.carry()
  }

  /** How many of an item the player has, the slot it is taken from left out. */
  total (item, except) {
    const window = this.window || this.inventory
    const lists = [window.cursor, ...window.slots.filter((_, i) => i !== except)]
    return lists.reduce((sum, s) => sum + (s && s[0] === item ? s[1] : 0), 0)
  }

  /** After the tick: what came of what was done. */
  settleClaims () {
    this.ticks++
    const at = this.bot.entity.position.clone()
    this.digging = this.digging.filter(([x, y, z, name, when]) => {
      const now = this.bot.blockAt(at.set(x, y, z))
      if (now && now.name === name) return false
      if (this.ticks < when) return true
      this.events.push(['mine_block', name, 1])
      return false
    })
    this.crafts = this.crafts.filter(([kind, item, before, until]) => {
      const window = this.window || this.inventory
      const made = this.total(item, kind === 'smelt_item' ? 2 : 0) - before
      if (made > 0) { this.events.push([kind, item, made]); return false }
      return window.slots && this.ticks < until
    })
  }

  /** What the client knows, as plain data; blocks and events are handed over once. */
  view () {
    const bot = this.bot
    const e = bot.entity
    const drops = []
    const mobs = []
    for (const other of Object.values(bot.entities)) {
      if (other === e || !other.position) continue
      const p = other.position
      if (other.name === 'item') {
        const item = this.dropped(other)
        if (item) drops.push([other.id, item[0], item[1], p.x, p.y, p.z, other.onGround ? 1 : 0])
      } else if (MOBS.includes(other.type)) {
        mobs.push([other.id, other.name, p.x, p.y, p.z, other.yaw])
      }
    }
    const window = this.window
    const blocks = [...this.blocks.values()]
    this.blocks.clear()
    return {
      p: [e.position.x, e.position.y, e.position.z], v: [e.velocity.x, e.velocity.y, e.velocity.z],
      f: [e.onGround, e.isCollidedHorizontally, e.isInWater, e.isInLava, e.isInWeb].map(Number),
      j: bot.jumpTicks, hp: bot.health, food: bot.food, held: bot.quickBarSlot, blocks, drops, mobs,
      inv: this.inventory.slots, cur: (window || this.inventory).cursor,
      win: window ? [window.kind, window.slots, this.at, this.fire] : null, events: this.events.splice(0)
    }
  }
}

module.exports = { Bot }
