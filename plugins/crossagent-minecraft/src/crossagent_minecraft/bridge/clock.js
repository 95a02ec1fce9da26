// Fake time for the embedded mode: server and bot share one clock that moves 50 ms when a tick is asked for.
// Must be the first module loaded: libraries keep the timers they find. Network code is served by real immediates.
'use strict'
const immediate = setImmediate

/** A generator whose whole state is one 32-bit integer (mulberry32). */
class Random {
  constructor (state) { this.state = state | 0 }

  next () {
    this.state = (this.state + 0x6D2B79F5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  between (low, high) { return low + (high - low) * this.next() }
  integer (low, high) { return low + Math.floor(this.next() * (high - low + 1)) }
  pick (list) { return list[Math.floor(this.next() * list.length)] }
}

const random = new Random(1)
let fake = null

/** Take over the clock and Math.random of this process, or begin anew: the time, the timers, the random numbers. */
function install () {
  if (fake) fake.uninstall()
  fake = require('@sinonjs/fake-timers').install({
    now: 1700000000000,
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    ignoreMissingTimers: true
  })
  random.state = 1
  Math.random = () => random.next()
}

const pause = () => new Promise(resolve => immediate(resolve))

/** Wait until nothing moves on the wire any more; `moved()` counts what was written to it. */
async function settle (moved) {
  let before
  do {
    before = moved()
    await pause()
  } while (moved() !== before)
}

module.exports = { install, settle, pause, random, advance: ms => fake.tick(ms), now: () => fake.now }
