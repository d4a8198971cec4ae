// The origin of the suite, on a free port of this machine only: `node origin.mjs SUITE`. It says on
// stdout where it listens.
import { Server } from 'node:net'
import { pathToFileURL } from 'node:url'

// The suite would listen on every address, and write its process id into a file.
const listen = Server.prototype.listen
Server.prototype.listen = function () {
  return listen.call(this, 0, '127.0.0.1')
}
process.env.npm_config_protocol = 'http'
process.env.npm_config_port = '0'
process.env.npm_config_pidfile = '/dev/null'

await import(pathToFileURL(`${process.argv[2]}/server/server.mjs`))
