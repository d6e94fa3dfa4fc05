-- Loads the cache over HTTP with reads and writes of random keys:
--
--   wrk -c 50 -d 10s --latency -s tools/wrk/kv.lua http://127.0.0.1:7172 -- [KEYS [WRITES [BYTES [PIPELINE]]]]
--
-- KEYS (10000) keys, WRITES (10) percent of the requests, values of BYTES (64), PIPELINE (1) requests at once. A read of
-- what is not there yet is a 404, which wrk counts among "Non-2xx"; the second run has none.
local keys, writes, pipeline, body = 10000, 10, 1, nil

function init(args)
    keys = tonumber(args[1]) or keys
    writes = tonumber(args[2]) or writes
    body = string.rep("v", tonumber(args[3]) or 64)
    pipeline = tonumber(args[4]) or pipeline
    math.randomseed(os.time())
end

function request()
    local batch = {}
    for at = 1, pipeline do
        local path = "/kv/key:" .. math.random(keys)
        if math.random(100) <= writes then
            batch[at] = wrk.format("PUT", path, nil, body)
        else
            batch[at] = wrk.format("GET", path)
        end
    end
    return table.concat(batch)
end
