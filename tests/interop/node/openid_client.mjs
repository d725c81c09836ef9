// openid-client: discovery from the issuer alone, then client_credentials; and for people password, refresh_token, introspection
// and revocation.

import { check, refused, run } from './checks.mjs'
import * as client from 'openid-client'

await run(async (server) => {
  for (const algorithm of ['oidc', 'oauth2']) {
    for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
      const config = await discover(server, algorithm, authentication, server)
      const metadata = config.serverMetadata()
      check(metadata.issuer === server.issuer, 'The issuer of the metadata is the issuer, byte for byte.')
      for (const member of ['token_endpoint', 'introspection_endpoint', 'revocation_endpoint', 'jwks_uri']) {
        check(metadata[member] === server[member], `${member} is where it is served.`)
      }

      const tokens = await client.clientCredentialsGrant(config, { scope: 'read' })
      check(tokens.token_type === 'bearer', 'token_type is Bearer.')
      check(tokens.scope === 'read', 'The granted scope is the requested one.')
      check(tokens.expiresIn() > 0, 'The answer says when the token expires.')
      check(tokens.refresh_token === undefined, 'client_credentials gives no refresh token (RFC 6749 4.4.3).')

      const all = await client.clientCredentialsGrant(config, { resource: server.audience })
      check(all.scope.split(' ').sort().join(' ') === 'read write', 'No scope asked means all that is registered.')
      await refused(
        isRefusal('invalid_scope'),
        () => client.clientCredentialsGrant(config, { scope: 'read not-registered' }),
        'A scope that is not registered is 400 invalid_scope.',
      )
      await checkPeople(server, algorithm, authentication)
    }
    // Every 401 carries a challenge (RFC 9110 15.5.2), which openid-client parses.
    for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
      const stranger = await discover(server, algorithm, authentication, { ...server, client_secret: 'wrong' })
      for (const attempt of [
        () => client.clientCredentialsGrant(stranger),
        () => client.tokenIntrospection(stranger, 'anything'),
        () => client.tokenRevocation(stranger, 'anything'),
      ]) {
        await refused(
          isChallenge,
          attempt,
          'A wrong secret is 401 with a challenge.',
        )
      }
    }
  }
})

async function checkPeople(server, algorithm, authentication) {
  const people = await discover(server, algorithm, authentication, server.people)
  const gateway = await discover(server, algorithm, authentication, server.gateway)
  const { username, password, user_id } = server.user
  const signIn = () => client.genericGrantRequest(people, 'password', { username, password, scope: 'read' })
  const refresh = (tokens, parameters) => client.refreshTokenGrant(people, tokens.refresh_token, parameters)

  const first = await signIn()
  check(first.scope === 'read', 'The granted scope is the requested one.')
  check(first.expiresIn() > 0, 'The answer says when the token expires.')
  const second = await refresh(first)
  check(second.refresh_token !== first.refresh_token, 'A refresh gives a new refresh token.')
  check(second.access_token !== first.access_token, 'A refresh gives a new access token.')
  check(second.scope === 'read', 'A refresh gives the scope that was granted.')
  await refused(isRefusal('invalid_scope'), () => refresh(second, { scope: 'read write' }), 'A refresh gives no more scope.')

  const answer = await client.tokenIntrospection(gateway, second.access_token, { token_type_hint: 'access_token' })
  check(answer.active && answer.iss === server.issuer, 'The access token is active.')
  check(answer.sub === user_id && answer.username === username, 'Introspection says who the user is.')
  check(answer.client_id === server.people.client_id, 'Introspection says who the client is.')
  check(answer.aud === server.audience && answer.scope === 'read', 'Introspection says what the token is for.')
  check(answer.exp - answer.iat === second.expires_in, 'exp is iat plus expires_in.')
  check((await client.tokenIntrospection(people, second.refresh_token)).active, "A client's newest refresh token is active.")

  const third = await refresh(second)
  await refused(isRefusal('invalid_grant'), () => refresh(first), 'The old refresh token is refused after the new one was used.')
  await checkEnded(people, gateway, third)

  const again = await signIn()
  for (const hint of ['refresh_token', 'access_token', 'refresh_token']) {
    const nothing = await client.tokenRevocation(people, again.refresh_token, { token_type_hint: hint })
    check(nothing === undefined, 'A revocation is accepted, also when repeated and with a wrong hint.')
  }
  await checkEnded(people, gateway, again)

  // An access token ends alone.
  const last = await signIn()
  await client.tokenRevocation(people, last.access_token)
  check(!(await client.tokenIntrospection(gateway, last.access_token)).active, 'A revoked access token is not active.')
  check((await refresh(last)).access_token !== undefined, 'A revoked access token leaves the refresh token alive.')
}

async function checkEnded(people, gateway, tokens) {
  const answer = await client.tokenIntrospection(gateway, tokens.access_token)
  check(JSON.stringify(answer) === '{"active":false}', 'Nothing is said of an access token that has ended.')
  const refresh = () => client.refreshTokenGrant(people, tokens.refresh_token)
  await refused(isRefusal('invalid_grant'), refresh, 'A refresh token that has ended is 400 invalid_grant.')
}

function isChallenge(error) {
  return error instanceof client.WWWAuthenticateChallengeError && error.cause[0].scheme === 'basic' && error.status === 401
}

function isRefusal(code) {
  return (error) => error instanceof client.ResponseBodyError && error.error === code && error.status === 400
}

function discover(server, algorithm, authentication, { client_id, client_secret }) {
  const options = { algorithm, execute: [client.allowInsecureRequests] }
  return client.discovery(new URL(server.issuer), client_id, undefined, authentication(client_secret), options)
}
