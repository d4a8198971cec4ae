import { EventEmitter } from 'node:events'
import { Pool } from 'undici'

const callLimit = 500

export class ServiceFailed extends Error {
  constructor (statusCode, message) {
    super(message)
    this.statusCode = statusCode
  }
}

/**
 * Ends a call that takes too long. undici's own timeouts tick twice a second only, which is too coarse,
 * and an AbortSignal for each call doubles what a request costs; undici takes an emitter as well.
 */
class Deadline extends EventEmitter {
  passed = false
  #timer = setTimeout(() => {
    this.passed = true
    this.emit('abort')
  }, callLimit)

  clear () {
    clearTimeout(this.#timer)
  }
}

/** The services with consecutive ports, from the first one on; each has its pool of connections. */
export class Services {
  #pools

  constructor (firstPort, count) {
    this.#pools = Array.from({ length: count }, (_, n) => new Pool(`http://127.0.0.1:${firstPort + n}`, {
      connections: 512,
      keepAliveTimeout: 60_000
    }))
  }

  /** Asks service n and reads its answer, whatever it is; `read` names the method of undici's body for that. */
  async get (n, path, read = 'arrayBuffer') {
    const deadline = new Deadline()
    try {
      const { statusCode, headers, body } = await this.#pools[n].request({ method: 'GET', path, signal: deadline })
      return { statusCode, headers, body: await body[read]() }
    } catch {
      throw deadline.passed
        ? new ServiceFailed(504, 'a service took too long')
        : new ServiceFailed(502, 'a service failed')
    } finally {
      deadline.clear()
    }
  }

  /** Asks service n for JSON. */
  async json (n, path) {
    const { statusCode, body } = await this.get(n, path, 'json')
    if (statusCode !== 200) throw new ServiceFailed(502, `a service answered ${statusCode}`)
    return body
  }
}
