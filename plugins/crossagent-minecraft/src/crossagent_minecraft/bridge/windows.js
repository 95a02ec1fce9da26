// What clicks in a window do (vanilla 1.16 rules, as crossagent_minecraft_data.windows has them). Stacks are [name, count].
'use strict'

const ARMOR = ['helmet', 'chestplate', 'leggings', 'boots']
const LAYOUT = {
  inventory: { main: 9, size: 46, grid: 2 },
  crafting_table: { main: 10, size: 46, grid: 3 },
  furnace: { main: 3, size: 39, grid: 0 },
  chest: { main: 27, size: 63, grid: 0 }
}
const range = (a, b) => Array.from({ length: b - a }, (_, i) => a + i)

/** Which cells of a grid make what: tables of recipes with alternatives per cell. */
class Recipes {
  constructor (rows, leftovers) {
    this.leftovers = leftovers
    this.shaped = new Map()
    this.shapeless = new Map()
    for (const r of rows) {
      const [table, key] = r.shaped ? [this.shaped, `${r.width}x${r.cells.length / r.width}`] : [this.shapeless, r.cells.length]
      if (!table.has(key)) table.set(key, [])
      table.get(key).push(r)
    }
  }

  match (grid, width) {
    const filled = range(0, grid.length).filter(i => grid[i])
    if (!filled.length) return null
    const rows = filled.map(i => Math.floor(i / width)); const columns = filled.map(i => i % width)
    const top = Math.min(...rows); const left = Math.min(...columns)
    const w = Math.max(...columns) - left + 1; const h = Math.max(...rows) - top + 1
    const box = []; const mirror = []
    for (let r = 0; r < h; r++) {
      for (let c = 0; c < w; c++) {
        box.push(grid[(top + r) * width + left + c])
        mirror.push(grid[(top + r) * width + left + w - 1 - c])
      }
    }
    const fits = (cells, pattern) => pattern.every((options, i) => options.length ? options.includes(cells[i]) : !cells[i])
    const found = (this.shaped.get(`${w}x${h}`) || []).find(r => fits(box, r.cells) || fits(mirror, r.cells)) ||
      (this.shapeless.get(filled.length) || []).find(r => paired(filled.map(i => grid[i]), r.cells))
    return found ? { result: found.result, count: found.count } : null
  }
}

function paired (items, ingredients) {
  if (!items.length) return true
  return ingredients.some((options, i) => options.includes(items[0]) && paired(items.slice(1), ingredients.filter((_, k) => k !== i)))
}

class Window {
  /** `rules`: { recipes, smelts, fuel, stack, worn }; `slots` is kept and changed in place. */
  constructor (kind, slots, rules) {
    this.kind = kind
    this.slots = slots
    this.rules = rules
    this.cursor = null
    this.events = []
    this.grid = LAYOUT[kind].grid
    this.main = LAYOUT[kind].main
    this.drag = null
    this.update()
  }

  isResult (slot) { return slot === 0 && this.grid > 0 }

  accepts (slot, item) {
    if (this.isResult(slot) || (this.kind === 'furnace' && slot === 2)) return false
    if (this.kind === 'furnace' && slot === 1) return (this.rules.fuel[item] || 0) > 0 || item === 'bucket'
    if (this.kind === 'inventory' && slot >= 5 && slot <= 8) return this.armorIndex(item) === slot - 5
    return true
  }

  armorIndex (item) {
    if (item in this.rules.worn) return this.rules.worn[item]
    const i = ARMOR.findIndex(part => item.endsWith('_' + part))
    return i < 0 ? null : i
  }

  limit (slot, item) { return this.kind === 'inventory' && slot >= 5 && slot <= 8 ? 1 : this.rules.stack(item) }
  set (slot, item, count) { this.slots[slot] = count > 0 ? [item, count] : null }
  names () { return this.slots.slice(1, 1 + this.grid * this.grid).map(s => s && s[0]) }

  update () {
    if (!this.grid) return
    const made = this.rules.recipes.match(this.names(), this.grid)
    this.slots[0] = made ? [made.result, made.count] : null
  }

  consume () {
    const made = this.rules.recipes.match(this.names(), this.grid)
    this.names().forEach((item, cell) => {
      if (!item) return
      const left = this.rules.recipes.leftovers[item]
      this.set(1 + cell, item, this.slots[1 + cell][1] - 1)
      if (!left) return
      if (!this.slots[1 + cell]) this.slots[1 + cell] = [left, 1]
      else if (this.move(left, 1, this.playerOrder())) this.events.push(['drop', left, 1])
    })
    this.events.push(['craft_item', made.result, made.count])
    this.update()
  }

  // -- the packet ------------------------------------------------------------------------------------------------
  /** Act on a click packet: its mode, button and slot. */
  click (mode, button, slot) {
    const before = this.kind === 'furnace' && this.slots[2]
    if (mode === 0) this.plain(slot, button)
    else if (mode === 1 && slot >= 0) this.quick(slot)
    else if (mode === 2 && slot >= 0 && button < 9) this.swap(slot, button)
    else if (mode === 4 && slot >= 0) this.throwFrom(slot, button === 1)
    else if (mode === 5) this.dragging(button, slot)
    else if (mode === 6) this.gather(slot)
    const after = this.kind === 'furnace' && this.slots[2]
    if (before && before[1] > (after ? after[1] : 0)) this.events.push(['smelt_item', before[0], before[1] - (after ? after[1] : 0)])
  }

  plain (slot, button) {
    if (slot === -999) {
      if (!this.cursor) return
      const count = button === 0 ? this.cursor[1] : 1
      this.events.push(['drop', this.cursor[0], count])
      this.take(count)
      return
    }
    if (slot < 0) return
    const stack = this.slots[slot]; const cursor = this.cursor
    if (this.isResult(slot)) {
      if (stack && (!cursor || cursor[0] === stack[0])) {
        const total = stack[1] + (cursor ? cursor[1] : 0)
        if (total <= this.rules.stack(stack[0])) { this.cursor = [stack[0], total]; this.consume() }
      }
      return
    }
    if (!stack) {
      if (cursor && this.accepts(slot, cursor[0])) {
        const moved = Math.min(button === 0 ? cursor[1] : 1, this.limit(slot, cursor[0]))
        this.set(slot, cursor[0], moved)
        this.take(moved)
      }
    } else if (!cursor) {
      const taken = button === 0 ? stack[1] : (stack[1] + 1) >> 1
      this.cursor = [stack[0], taken]
      this.set(slot, stack[0], stack[1] - taken)
    } else if (this.accepts(slot, cursor[0])) {
      if (stack[0] === cursor[0]) {
        const moved = Math.max(0, Math.min(button === 0 ? cursor[1] : 1, this.limit(slot, stack[0]) - stack[1]))
        this.set(slot, stack[0], stack[1] + moved)
        this.take(moved)
      } else if (cursor[1] <= this.limit(slot, cursor[0])) {
        this.slots[slot] = cursor
        this.cursor = stack
      }
    } else if (stack[0] === cursor[0] && stack[1] + cursor[1] <= this.rules.stack(stack[0])) {
      this.cursor = [stack[0], stack[1] + cursor[1]]
      this.slots[slot] = null
    }
    this.update()
  }

  take (count) { this.cursor = this.cursor[1] > count ? [this.cursor[0], this.cursor[1] - count] : null }

  dragging (button, slot) {
    const step = button & 3; const right = button >= 4
    if (step === 0) this.drag = this.cursor ? [] : null
    else if (step === 1 && this.drag && slot >= 0 && !this.drag.includes(slot)) this.drag.push(slot)
    else if (step === 2 && this.drag) {
      const slots = this.drag
      this.drag = null
      this.spread(slots, right)
    }
  }

  /** A drag that ended: an even share into each slot, or one each with the right button. */
  spread (slots, right) {
    const item = this.cursor[0]
    let have = this.cursor[1]
    const chosen = slots.filter(s => this.accepts(s, item) && (!this.slots[s] || this.slots[s][0] === item)).slice(0, have)
    if (chosen.length === 1) { this.plain(chosen[0], right ? 1 : 0); return }
    const share = right ? 1 : Math.floor(have / Math.max(1, chosen.length))
    for (const s of chosen) {
      const before = this.slots[s] ? this.slots[s][1] : 0
      const after = Math.max(before, Math.min(before + share, this.limit(s, item)))
      this.set(s, item, after)
      have -= after - before
    }
    this.cursor = have ? [item, have] : null
    this.update()
  }

  gather (slot) {
    const stack = slot >= 0 ? this.slots[slot] : null
    if (!this.cursor || stack) return
    const item = this.cursor[0]; const most = this.rules.stack(item)
    for (const whole of [false, true]) {
      this.slots.forEach((s, i) => {
        if (!s || s[0] !== item || this.isResult(i) || this.cursor[1] >= most || (s[1] >= most) !== whole) return
        const moved = Math.min(s[1], most - this.cursor[1])
        this.cursor = [item, this.cursor[1] + moved]
        this.set(i, item, s[1] - moved)
      })
    }
    this.update()
  }

  swap (slot, n) {
    const hot = this.main + 27 + n
    if (this.cursor || slot === hot) return
    const here = this.slots[slot]; const there = this.slots[hot]
    if (this.isResult(slot)) {
      if (here && !there) { this.slots[hot] = here; this.consume() }
      return
    }
    if (!there) { this.slots[slot] = null; this.slots[hot] = here } else if (this.accepts(slot, there[0])) {
      const most = this.limit(slot, there[0])
      if (there[1] <= most) { this.slots[slot] = there; this.slots[hot] = here } else {
        this.set(slot, there[0], most)
        this.set(hot, there[0], there[1] - most)
        const left = here ? this.move(here[0], here[1], this.playerOrder()) : 0
        if (left) this.events.push(['drop', here[0], left])
      }
    }
    this.update()
  }

  throwFrom (slot, all) {
    const stack = this.slots[slot]
    if (!stack || this.cursor) return
    if (this.isResult(slot)) { this.consume(); this.events.push(['drop', ...stack]); return }
    const count = all ? stack[1] : 1
    this.set(slot, stack[0], stack[1] - count)
    this.update()
    this.events.push(['drop', stack[0], count])
  }

  // -- quick moves -----------------------------------------------------------------------------------------------
  playerOrder (reverse = false) { const order = range(this.main, this.main + 36); return reverse ? order.reverse() : order }

  move (item, count, order) {
    for (const slot of order) {
      const s = this.slots[slot]
      if (count && s && s[0] === item && !this.isResult(slot)) {
        const moved = Math.max(0, Math.min(count, this.limit(slot, item) - s[1]))
        this.set(slot, item, s[1] + moved)
        count -= moved
      }
    }
    for (const slot of order) {
      if (count && !this.slots[slot] && this.accepts(slot, item)) {
        const moved = Math.min(count, this.limit(slot, item))
        this.set(slot, item, moved)
        count -= moved
      }
    }
    return count
  }

  quickOrder (slot, item) {
    const main = this.main; const hotbar = range(main + 27, main + 36)
    const across = slot >= main && slot < main + 27 ? hotbar : range(main, main + 27)
    if (slot < main) return this.playerOrder(this.isResult(slot) || this.kind === 'chest' || (this.kind === 'furnace' && slot === 2))
    if (this.kind === 'inventory') {
      const worn = this.armorIndex(item)
      if (worn !== null && !this.slots[5 + worn]) return [5 + worn]
      if (item === 'shield' && !this.slots[45]) return [45]
      return slot === 45 ? this.playerOrder() : across
    }
    if (this.kind === 'chest') return range(0, main)
    if (this.kind === 'furnace') return this.rules.smelts[item] ? [0] : this.rules.fuel[item] ? [1] : across
    return range(1, 10)
  }

  quick (slot) {
    const stack = this.slots[slot]
    if (!stack) return
    if (this.isResult(slot)) { this.craftAll(); return }
    const [item, count] = stack
    this.slots[slot] = null
    let left = this.move(item, count, this.quickOrder(slot, item).filter(s => s !== slot))
    if (this.kind === 'crafting_table' && left === count && slot >= 10) left = this.move(item, left, slot < 37 ? range(37, 46) : range(10, 37))
    this.set(slot, item, left)
    this.update()
  }

  craftAll () {
    const first = this.slots[0]
    while (first && this.slots[0] && this.slots[0][0] === first[0] && this.slots[0][1] === first[1]) {
      const before = this.slots.slice()
      if (this.move(first[0], first[1], this.playerOrder(true))) {
        before.forEach((s, i) => { this.slots[i] = s })
        break
      }
      this.consume()
    }
  }

  /** Close: grid and cursor go back to the player; what does not fit is dropped. */
  close () {
    const loose = [this.cursor, ...this.slots.slice(1, 1 + this.grid * this.grid)]
    this.cursor = null
    for (let i = 1; i <= this.grid * this.grid; i++) this.slots[i] = null
    this.update()
    const order = [...range(this.main + 27, this.main + 36), ...range(this.main, this.main + 27)]
    for (const s of loose) {
      if (!s) continue
      const left = this.move(s[0], s[1], order)
      if (left) this.events.push(['drop', s[0], left])
    }
  }
}

module.exports = { Window, Recipes, LAYOUT }
