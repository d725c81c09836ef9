-- The same request again and again.
-- wrk … -s fixed.lua URL -- BODY sends BODY as a form; without BODY it sends GET.

require "summary"

function init(args)
  if args[1] then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    wrk.body = args[1]
  end
end
