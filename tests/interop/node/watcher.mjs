// Three resource servers with the caches that their libraries have when nobody configures them: jose, jwks-rsa and oauth4webapi.
// Once a second each verifies a new token, and the newest token of every key that it has met. A line of JSON says how that went:
// {"verifier", "kid", "at" in milliseconds, "error" or null}. Goes on until standard input ends.

import { tokenResponse } from './checks.mjs'
import { readFileSync } from 'node:fs'
import * as jose from 'jose'
import jwksRsa from 'jwks-rsa'
import * as oauth from 'oauth4webapi'

const server = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const rules = { issuer: server.issuer, audience: server.audience, algorithms: ['RS256'] }

function withJose() {
  const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri))
  return (token) => jose.jwtVerify(token, keys, rules)
}

function withJwksRsa() {
  const client = jwksRsa({ jwksUri: server.jwks_uri })
  return async (token) => {
    const key = await client.getSigningKey(jose.decodeProtectedHeader(token).kid)
    return jose.jwtVerify(token, await jose.importSPKI(key.getPublicKey(), 'RS256'), rules)
  }
}

function withOauth4webapi() {
  const as = { issuer: server.issuer, jwks_uri: server.jwks_uri }
  return (token) => {
    const headers = { authorization: `Bearer ${token}` }
    const request = new Request('https://api.example/', { headers })
    return oauth.validateJwtAccessToken(as, request, server.audience, { [oauth.allowInsecureRequests]: true })
  }
}

const verifiers = { jose: withJose(), 'jwks-rsa': withJwksRsa(), oauth4webapi: withOauth4webapi() }
const newest = new Map()

async function look() {
  const { access_token: token } = await tokenResponse(server)
  newest.set(jose.decodeProtectedHeader(token).kid, token)
  for (const [verifier, verify] of Object.entries(verifiers)) {
    for (const [kid, token] of newest) {
      const error = await verify(token).then(() => null, (error) => `${error.code ?? error.name} ${error.message}`)
      console.log(JSON.stringify({ verifier, kid, at: Date.now(), error }))
    }
  }
}

let ended = false
process.stdin.on('end', () => (ended = true)).resume()
while (!ended) {
  const begun = Date.now()
  await look()
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, begun + 1000 - Date.now())))
}
