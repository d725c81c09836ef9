-- Forms out of a file, one after the other and from the beginning again.
-- wrk … -s turns.lua URL -- FILE: each line is a body, or an address and a body with a space between.

require "summary"

local requests, turn = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    local address, body = line:match("^(%S+) (.*)$")
    local headers = { ["Content-Type"] = "application/x-www-form-urlencoded", ["X-Forwarded-For"] = address }
    for name, value in pairs(wrk.headers) do headers[name] = value end
    -- Made once: there is little time for it later.
    requests[#requests + 1] = wrk.format("POST", nil, headers, body or line)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
