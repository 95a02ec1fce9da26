// The bridge: one world per process, JSON lines on the file descriptor it is told. See docs/minecraft.md.
'use strict'
const net = require('net')
const fs = require('fs')
const PROTOCOL = 1
const MOST = 4 * 1024 * 1024
const pipe = new net.Socket({ fd: Number(process.argv[2]), readable: true, writable: true })
const say = message => pipe.write(JSON.stringify(message) + '\n')
console.log = console.warn = console.info = () => {} // libraries chat; only errors go to stderr

const [mode, factsPath, chunks] = [process.argv[3], process.argv[4], Number(process.argv[5])]
const realTimeout = setTimeout
const clock = require('./clock')
if (mode === 'embedded') clock.install()
require('./without')
const wire = require('./wire')
const { Bot } = require('./bot')
const facts = JSON.parse(fs.readFileSync(factsPath, 'utf8'))
let server = null
let player = null

const settle = () => clock.settle(wire.written)

/** Wait for something that comes of itself, without time passing; then, if need be, let some ticks pass. */
async function until (done, what) {
  for (let tick = 0; tick < 100; tick++) {
    for (let i = 0; i < 50; i++) {
      await settle()
      if (done()) return
      if (tick) await new Promise(resolve => realTimeout(resolve, 1)) // files are read in threads
    }
    clock.advance(50)
  }
  throw new Error(`${what} did not happen`)
}

/** Embedded: start a server and let the bot in, before anybody asks for a world. */
async function embed () {
  clock.install()
  const { Server } = require('./server')
  server = new Server(facts, chunks)
  await until(() => server.ready(), 'the start of the server')
  const [mine, theirs] = wire.pair()
  server.accept(mine)
  player = new Bot({ connect: client => client.setSocket(theirs), username: 'player' }, server.rules)
  clock.advance(50) // mineflayer's plugins come in with a timer, and have to be there before the first packet
  await settle()
  player.bot._client.emit('connect')
  await until(() => player.spawned && server.joinedAt(), 'joining the server')
  for (let i = 0; i < 10; i++) { clock.advance(50); await settle() }
  server.joined()
  await settle()
}

/** Connect: join a server in real time. */
async function join ({ host, port, username, patience }) {
  const registry = require('prismarine-registry')('1.16.5')
  const { Recipes } = require('./windows')
  const rules = { recipes: new Recipes(facts.recipes, facts.leftovers), smelts: facts.smelts, fuel: facts.fuel, worn: facts.worn, stack: item => registry.itemsByName[item] ? registry.itemsByName[item].stackSize : 64 }
  player = new Bot({ host, port, username, connectTimeout: patience }, rules)
  const end = Date.now() + patience
  while (!(player.spawned && player.bot.blockAt(player.bot.entity.position))) {
    if (player.ended) throw new Error(`${host}:${port}: ${player.ended}`)
    if (Date.now() > end) throw new Error(`${host}:${port}: not in the game after ${patience / 1000} s`)
    await new Promise(resolve => realTimeout(resolve, 50))
  }
  await player.bot.waitForTicks(20)
}

const commands = {
  async reset ({ scene, size, start, seed }) {
    const bytes = Buffer.from(scene, 'base64')
    server.build(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), size, start, seed)
    await settle()
    const e = player.bot.entity
    e.velocity.set(0, -0.0784000015258789, 0)
    e.onGround = true
    player.act({ keys: [], look: start.look, ops: [] })
    await settle()
    player.blocks.clear()
    player.events.length = 0
    player.watch([0, 0, 0, ...size])
    return { view: player.view(), hidden: server.hidden() }
  },

  async connect (options) {
    await join(options)
    const p = player.bot.entity.position.floored()
    const box = [p.x - options.radius, Math.max(0, p.y - options.depth), p.z - options.radius, p.x + options.radius, Math.min(256, p.y + options.depth), p.z + options.radius]
    player.watch(box)
    player.blocks.clear()
    const e = player.bot.entity
    return { view: player.view(), box, volume: Buffer.from(player.volume(box).buffer).toString('base64'), look: [Math.round((Math.PI - e.yaw) / (0.15 * Math.PI / 180)), Math.round(-e.pitch / (0.15 * Math.PI / 180))] }
  },

  async tick (input) {
    if (player.ended) throw new Error(player.ended)
    player.act(input)
    if (server) {
      await settle()
      clock.advance(50)
      await settle()
      server.tick()
      await settle()
    } else await player.bot.waitForTicks(1)
    player.settleClaims()
    return { view: player.view(), hidden: server ? server.hidden() : null }
  },

  async replay ({ ticks }) {
    let last
    for (const input of ticks) last = await commands.tick(input)
    return last
  },

  /** A new server and a new bot, as of a fresh process: modules stay loaded, nothing of the last world does. */
  async renew () {
    player.bot.removeAllListeners()
    await embed()
    return {}
  }
}

let queue = Promise.resolve()
let rest = ''
async function handle (line) {
  let message
  try {
    message = JSON.parse(line)
    if (!message || typeof message !== 'object' || !Object.hasOwn(commands, message.cmd)) throw new Error('no such command')
  } catch (error) {
    say({ error: `the bridge cannot read ${JSON.stringify(line.slice(0, 80))}: ${error.message}` })
    return
  }
  try {
    say({ id: message.id, ...await commands[message.cmd](message) })
  } catch (error) {
    say({ id: message.id, error: error.message })
  }
}
pipe.setEncoding('utf8')
pipe.on('data', text => {
  rest += text
  const lines = rest.split('\n')
  rest = lines.pop()
  if (rest.length > MOST) { say({ error: 'a line is too long' }); rest = '' }
  for (const line of lines) queue = queue.then(() => handle(line))
})
pipe.on('close', () => process.exit(0))
pipe.on('error', () => process.exit(0))
process.on('uncaughtException', error => { process.stderr.write(`bridge: ${error.stack}\n`); process.exit(1) })
process.on('unhandledRejection', error => { process.stderr.write(`bridge: ${error && error.stack}\n`); process.exit(1) })
queue = (mode === 'embedded' ? embed() : Promise.resolve()).then(() => say({ hello: 'crossagent-minecraft', protocol: PROTOCOL, version: '1.16.5', mode }))
