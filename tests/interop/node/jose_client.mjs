// jose with a remote JWK set: what most JavaScript resource servers do, directly or through their framework.

import { check, refused, run, tampered, tokenResponse } from './checks.mjs'
import * as jose from 'jose'

await run(async (server) => {
  const answer = await tokenResponse(server, { scope: 'read' })
  const token = answer.access_token
  const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri))
  const rules = {
    issuer: server.issuer,
    audience: server.audience,
    typ: 'at+jwt',
    algorithms: [server.alg],
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti', 'client_id', 'scope'],
    clockTolerance: 0,
  }
  const { protectedHeader, payload } = await jose.jwtVerify(token, keys, rules)
  const header = Object.keys(protectedHeader).sort().join(' ')
  check(header === 'alg kid typ', `The header is alg, kid and typ alone, not ${header}.`)
  check(payload.sub === server.client_id, 'sub is the client_id for client_credentials.')
  check(payload.client_id === server.client_id, 'client_id is the client.')
  check(payload.aud === server.audience, 'aud is a plain string when there is one audience.')
  check(payload.scope === 'read', 'scope is the granted scope.')
  check(payload.exp - payload.iat === answer.expires_in, 'exp is iat plus expires_in.')

  const claim = (name) => (error) => error instanceof jose.errors.JWTClaimValidationFailed && error.claim === name
  const verify = (change, text = token) => jose.jwtVerify(text, keys, { ...rules, ...change })
  await refused(claim('aud'), () => verify({ audience: 'https://wrong.example' }), 'jose refuses another audience.')
  await refused(claim('iss'), () => verify({ issuer: `${server.issuer}/` }), 'The issuer is the configured one, byte for byte.')
  await refused(claim('typ'), () => verify({ typ: 'JWT' }), 'An access token is no other kind of JWT (RFC 9068 4).')
  const signature = (error) => error instanceof jose.errors.JWSSignatureVerificationFailed
  await refused(signature, () => verify({}, tampered(token)), 'jose refuses a tampered token.')

  const set = await (await fetch(server.jwks_uri)).json()
  for (const key of set.keys) await checkKey(server, key)

  // A verifier without JWKS: the PEM download, by the token's kid.
  const pem = await (await fetch(pemUrl(server, protectedHeader.kid))).text()
  await jose.jwtVerify(token, await jose.importSPKI(pem, server.alg), rules)
})

async function checkKey(server, key) {
  check(key.kid === (await jose.calculateJwkThumbprint(key)), 'kid is the RFC 7638 thumbprint.')
  const spki = await jose.exportSPKI(await jose.importJWK(key, key.alg, { extractable: true }))
  const certificate = `-----BEGIN CERTIFICATE-----\n${key.x5c[0].replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
  const certified = await jose.exportSPKI(await jose.importX509(certificate, server.alg, { extractable: true }))
  check(spki === certified, 'The key of x5c[0] is the key.')
  const served = await (await fetch(pemUrl(server, key.kid))).text()
  check(served.trim() === spki.trim(), 'The PEM download of a kid is its public key.')
}

function pemUrl(server, kid) {
  return `${server.issuer}/.well-known/keywheel/keys/${kid}.pem`
}
