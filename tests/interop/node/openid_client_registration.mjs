// openid-client: discovery and dynamic registration in one step (RFC 7591); then the registration is read, updated and deleted with
// the registration access token (RFC 7592), for which the library has its requests to protected resources.

import { check, refused, run } from './checks.mjs'
import * as client from 'openid-client'

await run(async (server) => {
  for (const algorithm of ['oidc', 'oauth2']) {
    for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
      await lead(server, algorithm, authentication)
    }
  }
  await refused(
    isChallenge,
    () => register(server, 'oauth2', client.ClientSecretBasic, {}, 'kwi_unknown'),
    'An unknown initial access token is 401 with a challenge.',
  )
  await refused(
    (error) => error instanceof client.ResponseBodyError && error.error === 'invalid_client_metadata' && error.status === 400,
    () => register(server, 'oauth2', client.ClientSecretBasic, { scope: 'admin' }),
    'A scope beyond the initial access token is 400 invalid_client_metadata.',
  )
})

async function lead(server, algorithm, authentication) {
  const method = authentication === client.ClientSecretBasic ? 'client_secret_basic' : 'client_secret_post'
  const metadata = {
    client_name: 'openid-client',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    token_endpoint_auth_method: method,
    scope: 'read',
  }
  const config = await register(server, algorithm, authentication, metadata)
  const registered = config.clientMetadata()
  check(config.serverMetadata().registration_endpoint === server.registration_endpoint, 'The metadata announces registration.')
  checkInformation(registered, metadata, server)
  check(registered.client_secret_expires_at === 0, 'client_secret_expires_at stands beside the secret: 0 for never.')
  const tokens = await client.clientCredentialsGrant(config)
  check(tokens.scope === 'read', 'The secret fetches a token at once.')

  const send = async (method, body) => {
    const headers = new Headers(body ? { 'content-type': 'application/json' } : {})
    const url = new URL(registered.registration_client_uri)
    return client.fetchProtectedResource(config, registered.registration_access_token, url, method, body, headers)
  }
  const read = await send('GET')
  check(read.status === 200, `A registration is read with 200, not ${read.status}.`)
  checkInformation(await read.json(), metadata, server)

  const wider = { ...metadata, scope: 'read write' }
  const updated = await send('PUT', JSON.stringify({ ...wider, client_id: registered.client_id }))
  check(updated.status === 200, `A registration is updated with 200, not ${updated.status}.`)
  checkInformation(await updated.json(), wider, server)
  check((await client.clientCredentialsGrant(config)).scope === 'read write', 'An update holds for the next token.')

  const deleted = await send('DELETE')
  check(deleted.status === 204, `A registration is deleted with 204, not ${deleted.status}.`)
  await refused(isChallenge, () => send('GET'), 'A deleted registration is 401 with a challenge.')
  await refused(
    (error) => error instanceof client.WWWAuthenticateChallengeError && error.status === 401,
    () => client.clientCredentialsGrant(config),
    'A deleted client gets no token.',
  )
}

function checkInformation(information, metadata, server) {
  for (const [member, value] of Object.entries(metadata)) {
    check(JSON.stringify(information[member]) === JSON.stringify(value), `${member} is answered as it was registered.`)
  }
  check(JSON.stringify(information.audience) === JSON.stringify([server.audience]), 'The audience is what the token allows.')
  check(Number.isInteger(information.client_id_issued_at), 'client_id_issued_at is an integer.')
}

function register(server, algorithm, authentication, metadata, initialAccessToken = server.initial_access_token) {
  const options = { algorithm, execute: [client.allowInsecureRequests], initialAccessToken }
  return client.dynamicClientRegistration(new URL(server.issuer), metadata, authentication(), options)
}

function isChallenge(error) {
  const challenge = error instanceof client.WWWAuthenticateChallengeError && error.cause[0]
  return challenge && challenge.scheme === 'bearer' && challenge.parameters.error === 'invalid_token' && error.status === 401
}
