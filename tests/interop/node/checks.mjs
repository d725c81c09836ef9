// What the JavaScript clients share: the description of the running server (see ../python/checks.py), and a way to say which rule
// failed. Import it first: it also gives Node 18 the globals that the libraries use and that later versions have by themselves.

import { readFileSync } from 'node:fs'
import { webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto
globalThis.CryptoKey ??= webcrypto.CryptoKey

class Broken extends Error {}

/** Throws with `rule`, a full sentence, unless it holds. */
export function check(holds, rule) {
  if (!holds) throw new Broken(rule)
}

/** Throws with `rule` unless `attempt` is rejected with an error that `expected` accepts. */
export async function refused(expected, attempt, rule) {
  try {
    await attempt()
  } catch (error) {
    if (expected(error)) return
    throw new Broken(`${rule} It was refused otherwise: ${error} ${error.code ?? ''}`)
  }
  throw new Broken(`${rule} It was not refused.`)
}

/** Runs `program(server)` and exits: 0 when every check holds, 1 with a sentence about the rule that failed. */
export async function run(program) {
  try {
    await program(JSON.parse(readFileSync(process.argv[2] ?? 0, 'utf8')))
  } catch (error) {
    if (error instanceof Broken) {
      console.error(`broken: ${error.message}`)
    } else {
      console.error(error)
      console.error('broken: the client threw an error where it should have worked')
    }
    process.exitCode = 1
  }
}

/** A token response for the plain client, fetched with nothing but what Node has. */
export async function tokenResponse(server, parameters = {}) {
  const pair = [server.client_id, server.client_secret].map(encodeURIComponent).join(':')
  const response = await fetch(server.token_endpoint, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(pair)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', ...parameters }),
    redirect: 'error',
  })
  check(response.status === 200, `The token endpoint answers 200, not ${response.status}.`)
  return response.json()
}

/** The token with another subject under the same signature. */
export function tampered(token) {
  const [header, claims, signature] = token.split('.')
  const altered = { ...JSON.parse(Buffer.from(claims, 'base64url')), sub: 'somebody-else' }
  return [header, Buffer.from(JSON.stringify(altered)).toString('base64url'), signature].join('.')
}
