--- JSON written deep inside gsub | :1
local t = {} local r = t for i = 1, 990 do t[1] = {} t = t[1] end
local d = 0
local function f(s) d = d + 1 if d < 196 then return (s:gsub('.', f)) end return cjson.encode(r) end
return #f('x') > 0
--- JSON read deep inside gsub | :1
local d = 0
local json = ('['):rep(990) .. (']'):rep(990)
local function f(s) d = d + 1 if d < 196 then return (s:gsub('.', f)) end return tostring(cjson.decode(json)) end
return #f('x') > 0
--- MessagePack read deep inside gsub | :1
local d = 0
local packed = ('\145'):rep(990) .. '\1'
local function f(s) d = d + 1 if d < 196 then return (s:gsub('.', f)) end return tostring(cmsgpack.unpack(packed)) end
return #f('x') > 0
--- a deep pattern deep inside gsub
local d = 0
local function f(s) d = d + 1 if d < 196 then return (s:gsub('.', f)) end return tostring(('a'):rep(5000):find(('a-'):rep(2990) .. '$')) end
return f('x')
--- gsub without end | stack overflow
local function f(s) return (s:gsub('.', f)) end
return f('x')
--- pcall without end
local function f() return pcall(f) end
return f()
--- xpcall in its own handler
local function f() return xpcall(f, f) end
return f()
--- coroutines without end (CVE-2021-43519)
local function f() return coroutine.wrap(f)() end
return f()
--- coroutines without end, caught (CVE-2021-43519)
local function f(n) return pcall(coroutine.wrap(f), n + 1) end
return f(1)
--- sort without end
local function f() table.sort({3, 2, 1}, f) return true end
f()
--- foreach without end
local function f() table.foreach({1}, f) table.foreachi({1}, f) end
f()
--- loadstring without end
local f = loadstring('local f = ... return f(f)')
return f(f)
--- load whose reader loads
local function f() return load(f) and 'x' end
return load(f) == nil
--- recursion, by itself | stack overflow
local function f() return 1 + f() end
return f()
--- recursion, caught at the bottom and again
local n = 0
local function f() n = n + 1 if n < 100000 then pcall(f) end return f() end
return pcall(f)
--- tostring through a metatable
local t = setmetatable({}, {__tostring = function(t) return tostring(t) end})
return tostring(t)
--- brackets | :1
for _, text in ipairs {'(', '{', '[', 'function() ', 'if 1 then ', 'do ', 'x[', 'f(', 'not ', '- ', '# ', 'a .. ', '2 ^ ', 'while 1 do ', 'repeat ', 'for i = 1, 2 do ', 'local function f() ', 'return function() '} do
  for _, n in ipairs {10, 190, 199, 200, 201, 250, 10000} do loadstring('return ' .. text:rep(n)) loadstring(text:rep(n)) loadstring('local x = ' .. text:rep(n) .. '1') end
end
return 1
--- many variables, upvalues, parameters, constants, results
local function list(n, f) local t = {} for i = 1, n do t[i] = f(i) end return table.concat(t, ',') end
for _, n in ipairs {1, 60, 61, 199, 200, 201, 255, 256, 300, 70000} do
  local names = list(n, function(i) return 'v' .. i end)
  loadstring('local ' .. names) loadstring('local ' .. names .. ' return function() return ' .. names .. ' end') loadstring('return function(' .. names .. ') end')
  loadstring('return ' .. names) loadstring('return {' .. names .. '}') loadstring('f(' .. names .. ')') loadstring(names .. ' = 1') loadstring('return ' .. list(n, function(i) return i + 0.5 end))
  local f = loadstring('return {' .. list(n, function(i) return i end) .. '}') if f then pcall(f) end
  local g = loadstring('return ' .. list(math.min(n, 5000), function(i) return '"s' .. i .. '"' end):gsub(',', '..')) if g then pcall(g) end
end
return 1
--- jumps that are too far
local body = ('x = 1 '):rep(60000)
return {loadstring('while a do ' .. body .. ' end') == nil, loadstring('if a then ' .. body .. ' else ' .. body .. ' end') == nil, loadstring(('if a then x = 1 else'):rep(150) .. ' x = 2 ' .. ('end '):rep(150)) == nil}
--- a reply nested without end
local t = {} t[1] = t return t
--- a reply nested deep, of maps
local t = 1 for i = 1, 2000 do t = {map = {x = t}} end return t
--- JSON without end | excessive nesting
local t = {} t[1] = t return cjson.encode(t)
--- JSON without end, whatever the setting
cjson.encode_max_depth(2147483647) local t = {} t[1] = t return cjson.encode(t)
--- JSON read deep, whatever the setting
cjson.decode_max_depth(2147483647) return cjson.decode(('['):rep(100000))
--- MessagePack without end
local t = {} t[1] = t t.x = t return #cmsgpack.pack(t)
