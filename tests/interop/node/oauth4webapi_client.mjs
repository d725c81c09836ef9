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
