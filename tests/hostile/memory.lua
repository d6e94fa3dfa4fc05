--- unpack from 0 (CVE-2025-46817) | too many results to unpack
return {unpack({1, 2, 3}, 0, 2147483647)}
--- unpack over all integers (CVE-2025-46817) | too many results to unpack
return {unpack({1, 2, 3}, -2147483648, 2147483647)}
--- unpack from the least integer (CVE-2025-46817) | too many results to unpack
return {unpack({}, -2147483648, 0)}
--- unpack caught again and again (CVE-2025-46817) | :1
for i = 1, 1000 do pcall(unpack, {1, 2, 3}, 0, 2147483647) pcall(unpack, {}, 1, 7995 + i % 10) end return 1
--- unpack into arguments (CVE-2021-32626)
local t = {} for i = 1, 7990 do t[i] = 'a' end return pcall(redis.call, unpack(t))
--- unpack near the end of the stack, in a coroutine
local t = {} for i = 1, 7000 do t[i] = i end
local function f(n) if n == 0 then return select('#', unpack(t)) end return (f(n - 1)) end
return {coroutine.wrap(function() return f(100) end)(), f(150)}
--- a chunk whose reader collects its name (CVE-2025-49844) | :7
local n = 0
local f = load(function()
  n = n + 1
  if n == 1 then return nil end
  for i = 1, 100 do local s = ('x'):rep(i) .. n end collectgarbage()
  return n < 5 and ' return 7' or nil
end, ('name'):rep(10) .. math.random())
local m = 0
local g = load(function() m = m + 1 collectgarbage() return m == 1 and 'return ' or m == 2 and '7' or nil end, '=' .. ('z'):rep(300))
return f and g and g()
--- garbage while a chunk is read, and an error in it (CVE-2025-49844)
local ok = {}
for i = 1, 200 do
  local n = 0
  ok[i] = load(function() n = n + 1 collectgarbage('step', 100) return n < 20 and 'local a' .. n .. ' = ' or nil end, 'c' .. i)
end
return #ok
--- metatables of strings (CVE-2025-46818) | readonly
getmetatable('').__index = function() return redis.call end
return ('x').x
--- metatables of strings, around the back (CVE-2025-46818) | :1
assert(not pcall(function() setmetatable(getmetatable(''), {}) end))
assert(not pcall(function() rawset(getmetatable(''), '__index', 1) end))
assert(not pcall(function() string.len = nil end))
for _, value in ipairs {1, true, function() end, coroutine.create(function() end)} do assert(getmetatable(value) == nil) end
return 1
--- long brackets (CVE-2025-46819)
return {loadstring('return [' .. ('='):rep(1200000) .. '[x]') == nil, loadstring('--[' .. ('='):rep(1200000) .. '[x]') == nil}
--- long brackets that do not end (CVE-2025-46819)
for i = 0, 64 do assert(not loadstring('return [' .. ('='):rep(i) .. '[' .. (']' .. ('='):rep(i)):rep(100))) end return 1
--- the collector in the middle of everything (CVE-2024-46981) | :1
local weak = setmetatable({}, {__mode = 'kv'})
for i = 1, 2000 do
  weak[i] = {} weak[{}] = i
  local c = coroutine.wrap(function() local t = {} coroutine.yield(t) end) c()
  weak[c] = c
  if i % 50 == 0 then collectgarbage('step', i) end
  if i % 333 == 0 then collectgarbage() end
end
return 1
--- coroutines that are left half way, and their upvalues (CVE-2021-44964) | :100
local last
for i = 1, 100 do
  local up = i
  local c = coroutine.create(function() local x = {up} coroutine.yield(function() up = up + 1 x[1] = up return up end) end)
  local _, f = coroutine.resume(c)
  c = nil collectgarbage()
  last = f() - 1
end
return last
--- bit.tohex of the least integer (CVE-2024-31449) | 0000FFFF
return bit.tohex(65535, -2147483648)
--- bit.tohex of every size (CVE-2024-31449) | :1
for n = -100, 100 do bit.tohex(n, n) end
for _, n in ipairs {2^31, -2^31, 2^32, 2^53, -2^53, 1e308, 0/0, 1/0} do bit.tohex(n, n) bit.lshift(n, n) bit.rol(n, n) bit.bswap(n) end
return 1
--- cjson.encode of what grows when written (CVE-2022-24834) | :1
local s = ('\1'):rep(2000000) pcall(cjson.encode, s) pcall(cjson.encode, {s, s, s}) return 1
--- cjson and sparse arrays (CVE-2022-24834)
local t = {pcall(cjson.encode, {[2147483647] = 1}), pcall(cjson.encode, {[1e308] = 1}), pcall(cjson.encode, {[-1] = 1, [0] = 2})}
cjson.encode_sparse_array(false, 0, 0)
t[4] = pcall(cjson.encode, {[40] = 1}) cjson.encode_sparse_array(true, 1, 0) t[5] = pcall(cjson.encode, {[2^40] = 1})
return t
--- cjson.decode of numbers without end
return #cjson.decode('[' .. ('9'):rep(100000) .. ',1e' .. ('9'):rep(1000) .. ',-0.' .. ('0'):rep(10000) .. '1]')
--- cjson.decode of broken escapes
local n = 0
for _, s in ipairs {'"\\u"', '"\\ud800"', '"\\ud800\\u"', '"\\udc00\\ud800"', '"\\uFFFF', '"\\', '"\0"', '\0', '[\0', '{"', '"\\u00', '\239\187\191[]'} do
  if not pcall(cjson.decode, s) then n = n + 1 end
end
return n
--- cmsgpack lengths that are lies (CVE-2018-11218) | :1
for kind = 0, 255 do
  for _, tail in ipairs {'', '\255', '\255\255', '\255\255\255\255', ('\255'):rep(9), ('\127'):rep(20)} do
    pcall(cmsgpack.unpack, string.char(kind) .. tail)
    pcall(cmsgpack.unpack_one, string.char(kind) .. tail)
    pcall(cmsgpack.unpack_limit, string.char(kind) .. tail, 100, #tail)
  end
end
return 1
--- cmsgpack offsets (CVE-2018-11218) | :1
for _, n in ipairs {-1, 0, 1, 5, 2^31, -2^31, 2^53, 2^63, -2^63, 0/0, 1/0} do
  pcall(cmsgpack.unpack_one, 'abc', n) pcall(cmsgpack.unpack_limit, 'abc', n, n) pcall(cmsgpack.unpack_limit, 'abc', 2, n)
end
return 1
--- cmsgpack with many results (CVE-2021-32626) | too many return values
return cmsgpack.unpack(('\1'):rep(100000))
--- struct sizes that overflow (CVE-2015-8080, CVE-2018-11219, CVE-2020-14147) | :1
for _, format in ipairs {'i2147483647', 'i2147483648', 'i99999999999', 'c2147483647', 'c99999999999', '!2147483648', '!0', '!2147483647i4', 'c0', 'i0', 'I33', 'bc2147483647bi32', '>!8i7', ('x'):rep(1000) .. 'c2147483640'} do
  pcall(struct.pack, format, 1, 'x') pcall(struct.unpack, format, 'abcdefgh') pcall(struct.size, format) pcall(struct.unpack, format, 'abcdefgh', 2147483647)
end
return 1
--- struct offsets (CVE-2020-14147) | :1
for _, n in ipairs {-1, 0, 1, 3, 2^31, -2^31, 2^53, 2^63, -2^63, 0/0, 1/0} do pcall(struct.unpack, 'i4', 'abcdefgh', n) pcall(struct.unpack, 's', 'ab', n) end return 1
--- struct with many results (CVE-2021-32626)
return #{struct.unpack(('b'):rep(100000), ('x'):rep(100000))}
--- struct and a length that was read before
local n = 0 for i = 0, 255 do if pcall(struct.unpack, 'Bc0', string.char(i) .. 'abc') then n = n + 1 end end return {n, pcall(struct.unpack, 'dc0', struct.pack('d', 1e300)), pcall(struct.unpack, 'dc0', struct.pack('d', -1))}
--- bytecode (CVE-2015-4335) | :1
local code = string.dump(function(a) return a end)
assert(loadstring(code) == nil and loadstring('\27Lua') == nil and loadstring('\27') == nil)
for i = 1, #code do assert(loadstring(code:sub(1, i - 1) .. string.char((code:byte(i) + 1) % 256) .. code:sub(i + 1)) == nil or i == 1) end
local parts, n = {'\27', 'Lua'}, 0
assert(load(function() n = n + 1 return parts[n] end) == nil)
return 1
--- functions with many parameters and dots, called with few (CVE-2014-5461) | :1
local names = {} for i = 1, 190 do names[i] = 'p' .. i end
local f = loadstring('local function f(' .. table.concat(names, ',') .. ', ...) local a, b, c = ... return p190, a, select("#", ...) end return f')()
local function down(n) if n > 0 then f() f(1) f(unpack(names)) down(n - 1) coroutine.wrap(f)(n) end end
down(150)
for i = 1, 200 do local t = {} for j = 1, i * 3 do t[j] = j end f(unpack(t)) pcall(f, unpack(t)) end
return 1
--- old dots
local f = loadstring('return function(...) local a = arg.n return a, arg[1] end')()
return f(1, 2, 3)
--- orders that are none | :1
local n = 0
for _, order in ipairs {function() return true end, function(a, b) return a ~= b end, function() return math.random() < 0.5 end, function(a, b) return (a or 0) >= (b or 0) end} do
  for size = 1, 200 do
    local t = {} for i = 1, size do t[i] = i * 7919 % 13 end
    if not pcall(table.sort, t, order) then n = n + 1 end
  end
end
return n > 0
--- an order that changes what is sorted
local t = {} for i = 1, 500 do t[i] = 500 - i end
pcall(table.sort, t, function(a, b) t[#t] = nil t[1] = {} return (tonumber(a) or 0) < (tonumber(b) or 0) end)
local u = {} for i = 1, 300 do u[i] = i end
pcall(table.sort, u, function(a, b) for i = 1, 5 do u[i] = nil end collectgarbage() return false end)
return 1
--- a callback that changes the table it is called from
local t = {} for i = 1, 500 do t[i] = i t['k' .. i] = i end
pcall(table.foreach, t, function(k) t[k] = nil for i = 1, 20 do t['n' .. k .. i] = 1 end end)
pcall(function() for k in pairs(t) do t[k] = nil t[{}] = 1 collectgarbage() end end)
return {pcall(next, t, 'nobody'), pcall(next, {}, 1)}
--- string.format at its edges | :1
for _, format in ipairs {'%99.99f', '%-99.99e', '%+099.99g', '%#99.99x', '%099d', '%99.99s', '%c', '%q', '%5%', '%', '%0-+ #9d', '%111d', '%.111f', '%h', '%ld', '%*d', '%n', '%p', '%1$d'} do
  for _, value in ipairs {-1e308, 1e-308, 0/0, 1/0, -1/0, 2^63, -2^63, '\0', ('x'):rep(600)} do pcall(string.format, format, value) end
end
return 1
--- string.format with %s and long text
return #string.format('%s%s%.50s%60s', ('x'):rep(100), ('y'):rep(99), ('z'):rep(1000), 'w')
--- indices at the edges | :1
local t = {}
for _, n in ipairs {2^31 - 1, 2^31, -2^31, -2^31 - 1, 2^32, 2^53, 2^63, -2^63, 1e308, -0, 0.5, 1/0} do
  t[n] = n assert(t[n] == n) pcall(table.insert, t, n, 1) pcall(table.remove, t, n) pcall(table.concat, t, '', n, n) pcall(unpack, t, n, n)
  pcall(string.sub, 'abc', n, n) pcall(string.byte, 'abc', n, n) pcall(string.byte, 'abc', -n, n) pcall(string.find, 'abc', 'b', n) pcall(string.rep, '', n)
  pcall(string.char, n) pcall(select, n, 1, 2) pcall(select, -n, 1, 2) pcall(math.random, n, n) pcall(tonumber, '10', n) pcall(rawget, t, n)
end
return 1
--- a length that has to be searched for
local t = {} for i = 0, 30 do t[2^i] = i end
return {#t, pcall(table.insert, t, 1), #t, pcall(unpack, t)}
--- NaN as a key | NaN
local t = {} t[0/0] = 1
--- patterns that are broken | :1
for _, p in ipairs {'%', '[', '[^', '[]', '[%', '[a-', '[a-%', '%b', '%bx', '%f', '%f[', '(', ')', '(()', '%1', '(%1)', '((a)%2)', '%9', '^*', '$$', '^$', '[^]]', '[]-a]', '*', '+a', '-', '\0', 'a\0b', '[\0-\255]', '%z', '()()()()', ('(a)'):rep(33), ('()'):rep(32)} do
  for _, s in ipairs {'', 'a', 'aaa', '\0', 'a\0b', ('ab'):rep(50)} do
    pcall(string.find, s, p) pcall(string.match, s, p, -1) pcall(string.gsub, s, p, '%1%2') pcall(string.gsub, s, p, '%') pcall(string.gsub, s, p, {})
    pcall(function() for _ in s:gmatch(p) do end end)
  end
end
return 1
--- a replacement that collects what is being searched | :1
for i = 1, 50 do
  local s = ('ab'):rep(200) .. i
  s:gsub('a', function(c) s = nil collectgarbage() return ('x'):rep(i) end)
  local g = (('q'):rep(100) .. i):gmatch('q') collectgarbage() for _ = 1, 50 do g() end
end
return 1
--- errors in the handler of errors
local function h() error('again') end
return {xpcall(function() error('x') end, h), xpcall(function() error({}) end, function(e) return e.x.y end), xpcall(h, error)}
--- errors of all kinds
local t = {}
for i, e in ipairs {1, true, {}, function() end, setmetatable({}, {__tostring = function() error('z') end}), setmetatable({}, {__index = function(t, k) return t[k] end}), cjson.null} do t[i] = pcall(error, e) end
error(setmetatable({}, {__index = function() error('inner') end}))
--- metamethods that call each other without end
local m = {} m.__index = function(t, k) return t[k .. 'x'] end m.__newindex = function(t, k, v) t[k .. 'x'] = v end m.__eq = function(a, b) return a == b end m.__lt = function(a, b) return a < b end m.__concat = function(a, b) return a .. b end m.__call = function(f, ...) return f(...) end m.__len = function() return 1 end
local a, b = setmetatable({}, m), setmetatable({}, m)
return {pcall(function() return a.x end), pcall(function() a.x = 1 end), pcall(function() return a == b end), pcall(function() return a < b end), pcall(function() return a .. b end), pcall(function() return a() end)}
--- __call chains
local f = function() return 1 end for i = 1, 300 do f = setmetatable({}, {__call = f}) end
return {pcall(f)}
--- yields where none can be
return {pcall(coroutine.yield), pcall(function() for _ in coroutine.wrap(function() ('x'):gsub('x', coroutine.yield) end) do end end), pcall(table.sort, {2, 1}, coroutine.yield), pcall(coroutine.wrap(function() return setmetatable({}, {__index = coroutine.yield}).x end))}
--- coroutines that resume themselves and each other
local a, b
a = coroutine.create(function() return coroutine.resume(a), coroutine.resume(b) end)
b = coroutine.create(function() return coroutine.resume(a), coroutine.resume(b), coroutine.status(a) end)
return {coroutine.resume(a), coroutine.resume(b), coroutine.resume(a), coroutine.status(a), coroutine.status(b)}
--- results of a coroutine without end
local t = {} for i = 1, 7900 do t[i] = i end
local c = coroutine.wrap(function(...) while true do coroutine.yield(unpack(t)) end end)
local n = 0 for i = 1, 50 do n = n + select('#', c(unpack(t))) end return n
--- redis.call with whatever there is
return {pcall(redis.call, 'get', {}), pcall(redis.call, 'get', nil), pcall(redis.call, nil), pcall(redis.call, '\0'), pcall(redis.call, ('x'):rep(100000)), pcall(redis.call, 'get', 0/0), pcall(redis.pcall), pcall(redis.call, 'eval', 'return 1', 0)}
--- the library tables, traversed and written
local n = 0
for name, library in pairs(_G) do
  if type(library) == 'table' and library ~= _G then
    for key, value in pairs(library) do n = n + 1 assert(not pcall(rawset, library, key, nil)) assert(not pcall(function() library[key] = nil end)) end
  end
end
return n > 50
--- every function with whatever there is | :1
local values = {nil, true, 0, -1, 1.5, 2^31, -2^31, 2^53, 1/0, 0/0, '', 'x', '\0', ('%'):rep(10), {}, {1, 2, 3}, function() end, coroutine.create(function() end), cjson.null, _G, string}
for _, library in ipairs {string, table, math, bit, cjson, cmsgpack, struct, coroutine} do
  for name, f in pairs(library) do
    if type(f) == 'function' and name ~= 'yield' then
      for i = 1, 21 do for j = 1, 21 do pcall(f, values[i], values[j]) pcall(f, values[j], values[i], values[i], values[j]) end end
    end
  end
end
return 1
