-- Forms out of a file, one after the other and from the beginning again.
-- wrk … -s turns.lua URL -- FILE [PAUSE]: each line is a body, or an address and a body with a space between. With PAUSE each
-- connection waits so many milliseconds between an answer and its next request, a little more or less.

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
  local pause = tonumber(args[2])
  if pause then
    delay = function() return math.random(pause * 0.5, pause * 1.5) end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
