// Server and bot in one process talk over a pair of streams instead of a socket: no kernel, no compression, so the order
// of everything depends on what was written alone.
'use strict'
const { Duplex } = require('stream')
const { EventEmitter } = require('events')
const { Client, Server } = require('minecraft-protocol')

let written = 0

class End extends Duplex {
  constructor () { super(); this.remoteAddress = '127.0.0.1' }
  _read () {}
  _write (chunk, encoding, done) { written++; this.peer.push(chunk); done() }
  _final (done) { this.peer.push(null); done() }
  setNoDelay () {}
  setKeepAlive () {}
  setTimeout () {}
}

function pair () {
  const [a, b] = [new End(), new End()]
  a.peer = b
  b.peer = a
  return [a, b]
}

/** A protocol server that listens to nothing; connections are handed to `accept`. */
class LocalServer extends Server {
  listen () {
    this.socketServer = new EventEmitter()
    this.socketServer.address = () => ({ port: 0 })
    this.socketServer.close = () => this.emit('close')
    setImmediate(() => this.emit('listening'))
  }

  accept (stream) {
    const client = new Client(true, this.version, this.customPackets, this.hideErrors)
    client.id = 0
    // zlib works in threads: when it is done would depend on the machine
    Object.defineProperty(client, 'compressionThreshold', { get: () => -2, set: () => {} })
    const write = client.write
    client.write = (name, params) => { if (name !== 'compress') write.call(client, name, params) }
    this.clients[0] = client
    client.on('end', () => { delete this.clients[0] })
    client.setSocket(stream)
    this.emit('connection', client)
  }
}

module.exports = { pair, LocalServer, written: () => written }
