// oauth4webapi, the strictest reader of the standards, as a client and as a resource server (RFC 9068).

import { check, refused, run, tampered } from './checks.mjs'
import * as oauth from 'oauth4webapi'

const overHttp = { [oauth.allowInsecureRequests]: true }

await run(async (server) => {
  const issuer = new URL(server.issuer)
  for (const algorithm of ['oidc', 'oauth2']) {
    const response = await oauth.discoveryRequest(issuer, { algorithm, ...overHttp })
    const as = await oauth.processDiscoveryResponse(issuer, response)
    check(as.issuer === server.issuer, 'The issuer of the metadata is the issuer, byte for byte.')
    for (const authentication of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
      const answer = await grant(server, as, authentication(server.client_secret), { scope: 'read' })
      check(answer.token_type === 'bearer', 'token_type is Bearer.')
      check(answer.scope === 'read', 'The granted scope is the requested one.')
      check(Number.isInteger(answer.expires_in), 'expires_in is an integer.')
      await checkResourceServer(server, as, answer.access_token)
      await checkPeople(server, as, authentication)
    }
    // Every 401 carries a challenge (RFC 9110 15.5.2), which oauth4webapi parses.
    for (const authentication of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
      await refused(
        (error) => error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401,
        () => grant(server, as, authentication('wrong'), {}),
        'A wrong secret is 401 with a challenge.',
      )
    }
  }
})

async function grant(server, as, authentication, parameters) {
  const client = { client_id: server.client_id }
  const response = await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters, overHttp)
  return oauth.processClientCredentialsResponse(as, client, response)
}

async function checkPeople(server, as, authentication) {
  const { username, password, user_id } = server.user
  const people = { client_id: server.people.client_id }
  const proof = authentication(server.people.client_secret)
  const signIn = async () => {
    const parameters = { username, password, scope: 'read' }
    const response = await oauth.genericTokenEndpointRequest(as, people, proof, 'password', parameters, overHttp)
    return oauth.processGenericTokenEndpointResponse(as, people, response)
  }
  const refresh = async ({ refresh_token }) => {
    const response = await oauth.refreshTokenGrantRequest(as, people, proof, refresh_token, overHttp)
    return oauth.processRefreshTokenResponse(as, people, response)
  }

  const first = await signIn()
  const claims = await oauth.validateJwtAccessToken(as, presenting(first.access_token), server.audience, overHttp)
  check(claims.sub === user_id && claims.client_id === people.client_id, "sub of a user's token is the user's id.")
  const second = await refresh(first)
  check(second.token_type === 'bearer' && second.scope === 'read', 'A refresh gives the scope that was granted.')
  check(Number.isInteger(second.expires_in), 'expires_in is an integer.')
  check(second.refresh_token !== first.refresh_token, 'A refresh gives a new refresh token.')
  await oauth.validateJwtAccessToken(as, presenting(second.access_token), server.audience, overHttp)

  const answer = await introspect(server, as, authentication, second.access_token)
  check(answer.active && answer.sub === user_id && answer.username === username, 'Introspection says who the user is.')
  check(answer.aud === server.audience && answer.scope === 'read', 'Introspection says what the token is for.')
  check(Number.isInteger(answer.exp) && Number.isInteger(answer.iat), 'exp and iat are integers.')

  const revoke = async (token) => {
    const response = await oauth.revocationRequest(as, people, proof, token, overHttp)
    check(response.status === 200, `A revocation answers 200, not ${response.status} (RFC 7009 2.2).`)
    check((await oauth.processRevocationResponse(response)) === undefined, 'oauth4webapi accepts the answer.')
  }
  await revoke(second.refresh_token)
  await revoke(second.refresh_token)
  await revoke('no token at all')
  const ended = await introspect(server, as, authentication, second.access_token)
  check(JSON.stringify(ended) === '{"active":false}', 'Nothing is said of an access token whose family was revoked.')
  await refused(isInvalidGrant, () => refresh(second), 'A revoked refresh token is 400 invalid_grant.')

  // Used again after its successor was: somebody else has it.
  const old = await signIn()
  const newest = await refresh(await refresh(old))
  await refused(isInvalidGrant, () => refresh(old), 'The old refresh token is refused after the new one was used.')
  await refused(isInvalidGrant, () => refresh(newest), 'A refresh token used again ends the newest one too.')
}

async function introspect(server, as, authentication, token) {
  const gateway = { client_id: server.gateway.client_id }
  const proof = authentication(server.gateway.client_secret)
  const response = await oauth.introspectionRequest(as, gateway, proof, token, overHttp)
  return oauth.processIntrospectionResponse(as, gateway, response)
}

function isInvalidGrant(error) {
  return error instanceof oauth.ResponseBodyError && error.error === 'invalid_grant' && error.status === 400
}

async function checkResourceServer(server, as, token) {
  const validate = (text, audience) => oauth.validateJwtAccessToken(as, presenting(text), audience, overHttp)
  const claims = await validate(token, server.audience)
  check(claims.sub === server.client_id && claims.client_id === server.client_id, 'sub is the client_id.')
  check(claims.scope === 'read', 'scope is the granted scope.')
  const refusal = (error) => error instanceof oauth.OperationProcessingError
  await refused(refusal, () => validate(token, 'https://wrong.example'), 'A token for another audience is refused.')
  await refused(refusal, () => validate(tampered(token), server.audience), 'A tampered token is refused.')
}

function presenting(token) {
  return new Request('https://api.example/', { headers: { authorization: `Bearer ${token}` } })
}
