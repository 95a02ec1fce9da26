// Packages that are pulled in and never used here: saved worlds (none) and Microsoft accounts (offline mode only).
'use strict'

function without (name, exports) {
  const file = require.resolve(name)
  require.cache[file] = { id: file, filename: file, loaded: true, exports }
}

without('prismarine-provider-anvil', { Anvil: () => class {}, level: {} })
without('prismarine-auth', {})
