// A stock flying-squid server of its own, in real time, on loopback: what connect mode is tested against.
'use strict'
require(process.argv[2] + '/without.js')
const server = require('flying-squid').createMCServer({
  motd: 'test', host: '127.0.0.1', port: 0, 'max-players': 2, 'online-mode': false, logging: false, gameMode: 0, difficulty: 1,
  generation: { name: 'superflat', options: { seed: 1 } }, kickTimeout: 1e6, plugins: {}, 'view-distance': 2,
  'player-list-text': { header: { text: '' }, footer: { text: '' } }, 'everybody-op': false, 'max-entities': 100, version: '1.16.5'
})
server.on('listening', port => process.stdout.write(`port ${port}\n`))
process.stdin.on('end', () => process.exit(0)).resume()
