--- a loop
while true do end
--- a loop that catches
while true do pcall(function() while true do end end) end
--- a loop that catches in its handler
while true do xpcall(function() while true do end end, function() while true do end end) end
--- caught deep
local function f() pcall(f) while true do end end f()
--- caught deep, at every level
local function f(n) while true do if n < 150 then pcall(f, n + 1) end end end f(1)
--- coroutines that catch
local c = coroutine.wrap(function() while true do pcall(function() while true do end end) end end) while true do pcall(c) end
--- many coroutines, none of which runs for long
local function f(n) if n > 150 then return end for i = 1, 20 do pcall(coroutine.wrap(f), n + 1) end end while true do f(1) end
--- commands
while true do redis.pcall('get', KEYS[1]) end
--- string.find that backtracks
local s, p = ('a'):rep(3000), ('a-'):rep(2040) .. 'b' while true do pcall(string.find, s, p) end
--- string.match that backtracks
local s = ('a'):rep(30000) while true do pcall(string.match, s, ('a*'):rep(20) .. 'c') end
--- string.find of plain text
local s, p = ('a'):rep(1000000), ('a'):rep(500000) .. 'b' while true do pcall(string.find, s, p, 1, true) end
--- string.find with a large set
local s, p = ('a'):rep(100000), '[' .. ('b'):rep(100000) .. ']' while true do pcall(string.find, s, p) end
--- %b without its end
local s = ('('):rep(300000) while true do pcall(string.find, s, '%b()') end
--- a backward reference
local s = ('a'):rep(10000) while true do pcall(string.find, s, '(a*)%1b') end
--- gsub without end
local s = ('a'):rep(300000) while true do pcall(string.gsub, s, 'a*b', '') end
--- gmatch without end
while true do pcall(function() for w in ('a'):rep(30000):gmatch('(a*)b') do end end) end
--- string.rep of nothing
while true do pcall(string.rep, '', 2147483647) end
--- strings compared
local a, b = ('a'):rep(1000000) .. 'a', ('a'):rep(1000000) .. 'b' while true do local x = a < b end
--- strings joined
local a = ('a'):rep(500000) local n = 0 while true do n = n + 1 local x = a .. n end
--- strings as numbers
local s = ('1'):rep(1000000) while true do pcall(tonumber, s, 16) pcall(function() return s + 1 end) end
--- strings that are alike where the hash looks
local n = 0 while true do n = n + 1 local s = ('x'):rep(70) .. ('%08d'):format(n):gsub('.', '%0y') .. ('x'):rep(70) end
--- table.insert far before the beginning
while true do pcall(table.insert, {}, -2147483648, 1) end
--- table.remove at the beginning
local t = {} for i = 1, 60000 do t[i] = i end while true do pcall(table.remove, t, 1) t[#t + 1] = 1 end
--- table.concat
local t = {} for i = 1, 60000 do t[i] = '' end while true do pcall(table.concat, t) end
--- table.sort
local t = {} for i = 1, 60000 do t[i] = i % 7 end while true do pcall(table.sort, t) end
--- table.foreach with a function that is none of Lua's
local t = {} for i = 1, 60000 do t[i] = i end while true do pcall(table.foreach, t, type) pcall(table.foreachi, t, type) pcall(table.maxn, t) end
--- next in a table that was emptied
local t = {} for i = 1, 30000 do t['k' .. i] = i end for i = 2, 29999 do t['k' .. i] = nil end while true do next(t) end
--- a table that is built anew each time
local t = {} for i = 1, 32768 do t['k' .. i] = i end local n = 0 while true do n = n + 1 t['k' .. n] = nil t['k' .. n + 32768] = 1 end
--- unpack
local t = {} for i = 1, 7900 do t[i] = i end while true do pcall(select, '#', unpack(t)) end
--- the collector
local t = {} for i = 1, 20000 do t[i] = {} end while true do pcall(collectgarbage) pcall(collectgarbage, 'step', 1000) end
--- the parser
local s = 'return ' .. ('1 + '):rep(100000) .. '1' while true do pcall(loadstring, s) end
--- the parser, for one string
local s = 'return "' .. ('x'):rep(500000) .. '"' while true do pcall(loadstring, s) end
--- JSON written
local t = {} for i = 1, 15 do t = {t, t, t, t} end while true do pcall(cjson.encode, t) end
--- JSON read
local s = '[' .. ('[],'):rep(10000) .. '1]' while true do pcall(cjson.decode, s) end
--- MessagePack written
local t = {} for i = 1, 15 do t = {t, t, t, t} end while true do pcall(cmsgpack.pack, t) end
--- MessagePack read
local s = ('\145'):rep(900) .. '\1' while true do pcall(cmsgpack.unpack, s) end
--- struct
local s = ('x'):rep(300000) while true do pcall(struct.size, s) pcall(struct.pack, s) pcall(struct.unpack, s, s) end
--- sha1hex
local s = ('x'):rep(1000000) while true do pcall(redis.sha1hex, s) end
--- errors that are long
local s = ('x'):rep(300000) while true do pcall(error, s) pcall(cjson.decode, s) end
