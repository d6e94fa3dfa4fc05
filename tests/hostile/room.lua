--- a long string
return ('x'):rep(2000000000)
--- a string that doubles
local s = 'x' while true do s = s .. s end
--- tables
local t = {} for i = 1, 1e9 do t[i] = {i} end
--- tables, caught
local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = {i} end end) end
--- keys of nothing
local t = {} for i = 1, 1e9 do t[i] = i t['x' .. i] = i end
--- coroutines
local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) coroutine.resume(t[i]) end
--- closures
local t = {} for i = 1, 1e9 do t[i] = function() return i end end
--- concat of one string
local s, t = ('x'):rep(100000), {} for i = 1, 100000 do t[i] = s end return table.concat(t)
--- a replacement that multiplies
return (('x'):rep(100000):gsub('x', ('y'):rep(100000)))
--- format that multiplies
return (('%s'):rep(200)):format(unpack((function() local t, s = {}, ('x'):rep(1000000) for i = 1, 200 do t[i] = s end return t end)()))
--- JSON of one string, in many places
local s, t = ('x'):rep(1000000), {} for i = 1, 5000 do t[i] = s end return cjson.encode(t)
--- JSON of tables in many places
local t = {} for i = 1, 60 do t = {t, t} end return cjson.encode(t)
--- JSON read
return cjson.decode('[' .. ('[],'):rep(2000000) .. '0]')
--- MessagePack of one string, in many places
local s, t = ('x'):rep(1000000), {} for i = 1, 5000 do t[i] = s end return cmsgpack.pack(t)
--- MessagePack of tables in many places
local t = {} for i = 1, 15 do local u = {} for j = 1, 100 do u[j] = t end t = u end return cmsgpack.pack(t)
--- struct of one string, in many places
local t = {} local s = ('x'):rep(1000000) for i = 1, 5000 do t[i] = s end return struct.pack(('s'):rep(5000), unpack(t))
--- a command of one string, in many places
local t = {} local s = ('x'):rep(1000000) for i = 1, 5000 do t[i] = s end return redis.call('echo', unpack(t))
--- a reply of one string, in many places
local t = {} local s = ('x'):rep(1000000) for i = 1, 5000 do t[i] = s end return t
--- a reply of tables in many places
local t = {} for i = 1, 60 do t = {t, t} end return t
--- a reply of maps in many places
local t = {} for i = 1, 60 do t = {map = {a = t, b = t}} end return t
--- source text
local s = ('x = 1 '):rep(1000000) return loadstring(s)
--- source text, pieces of it
return load(function() return ('x = 1 '):rep(1000) end)
--- recursion that holds its arguments
local function f(...) return f(1, ...) + 1 end return f(unpack((function() local t = {} for i = 1, 240 do t[i] = i end return t end)()))
