-- Refreshes: what an answer gives is what is presented next, so every connection always has a token that was not used.
-- wrk … -s chain.lua URL -- FILE: a refresh token in each line, one more than there are connections, because wrk asks for a
-- request before it begins and never sends that one.

require "summary"

local tokens, first, last = {}, 1, 0

local function keep(token)
  last = last + 1
  tokens[last] = token
end

function init(args)
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  for line in io.lines(args[1]) do keep(line) end
end

function request()
  local token = tokens[first]
  if not token then error("no refresh token is left: answers had none") end
  tokens[first] = nil
  first = first + 1
  return wrk.format("POST", nil, nil, "grant_type=refresh_token&refresh_token=" .. token)
end

function response(status, headers, body)
  local token = body:match('"refresh_token":"([^"]+)"')
  if token then keep(token) end
end
