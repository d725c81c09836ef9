// openid-client: discovery from the issuer alone, then client_credentials.

import { check, refused, run } from './checks.mjs'
import * as client from 'openid-client'

await run(async (server) => {
  for (const algorithm of ['oidc', 'oauth2']) {
    for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
      const config = await discover(server, algorithm, authentication(server.client_secret))
      const metadata = config.serverMetadata()
      check(metadata.issuer === server.issuer, 'The issuer of the metadata is the issuer, byte for byte.')
      check(metadata.token_endpoint === server.token_endpoint, 'token_endpoint is where it is served.')
      check(metadata.jwks_uri === server.jwks_uri, 'jwks_uri is where it is served.')

      const tokens = await client.clientCredentialsGrant(config, { scope: 'read' })
      check(tokens.token_type === 'bearer', 'token_type is Bearer.')
      check(tokens.scope === 'read', 'The granted scope is the requested one.')
      check(tokens.expiresIn() > 0, 'The answer says when the token expires.')
      check(tokens.refresh_token === undefined, 'client_credentials gives no refresh token (RFC 6749 4.4.3).')

      const all = await client.clientCredentialsGrant(config, { resource: server.audience })
      check(all.scope.split(' ').sort().join(' ') === 'read write', 'No scope asked means all that is registered.')
      await refused(
        (error) => error instanceof client.ResponseBodyError && error.error === 'invalid_scope' && error.status === 400,
        () => client.clientCredentialsGrant(config, { scope: 'read not-registered' }),
        'A scope that is not registered is 400 invalid_scope.',
      )
    }
    // Every 401 carries a challenge (RFC 9110 15.5.2), which openid-client parses.
    for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
      const stranger = await discover(server, algorithm, authentication('wrong'))
      await refused(
        (error) => error instanceof client.WWWAuthenticateChallengeError && error.cause[0].scheme === 'basic' && error.status === 401,
        () => client.clientCredentialsGrant(stranger),
        'A wrong secret is 401 with a challenge.',
      )
    }
  }
})

function discover(server, algorithm, authentication) {
  const options = { algorithm, execute: [client.allowInsecureRequests] }
  return client.discovery(new URL(server.issuer), server.client_id, undefined, authentication, options)
}
