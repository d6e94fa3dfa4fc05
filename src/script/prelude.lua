-- What scripts see: Lua's libraries without what reaches outside, ours, and nothing that a script could leave behind
-- for the next one. `native` has the functions that are written in Rust.
local native, libraries = ...

local byte, find, sub = string.byte, string.find, string.sub
local error, next, select, type = error, next, select, type
local getmetatable, setmetatable = getmetatable, setmetatable
local lua_pcall, lua_xpcall, lua_resume = pcall, xpcall, coroutine.resume

local READONLY = 'Attempt to modify a readonly table'

-- A read-only table is an empty one in front of the real one. `frozen` leads from the one to the other.
local frozen = {}

local function refuse() error(READONLY, 2) end

local function freeze(real, shown_metatable)
  local front = {}
  frozen[front] = real
  return setmetatable(front, { __index = real, __newindex = refuse, __metatable = shown_metatable or false })
end

-- Lua's functions that would change a table behind its metatable, or that would see an empty one.

local function needs_table(value, name)
  if type(value) ~= 'table' then
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(value) .. ')', 3)
  end
end

local function guard(change, name)
  return function(table, ...)
    if frozen[table] then error(READONLY, 0) end
    needs_table(table, name)
    return change(table, ...)
  end
end

local function safe_next(table, key)
  needs_table(table, 'next')
  return next(frozen[table] or table, key)
end

local function safe_pairs(table)
  if frozen[table] then return safe_next, table, nil end
  needs_table(table, 'pairs')
  return next, table, nil
end

-- Errors of our own functions travel as userdata; caught, they are what Redis's are.

-- No memory is the end, whatever would catch it: what was under way may be half done.
local function check_memory(value)
  if type(value) == 'string' and sub(value, -17) == 'not enough memory' then error(value, 0) end
  return value
end

local function settle(ok, ...)
  if ok then return true, ... end
  local value = ...
  if type(value) == 'userdata' then
    value = native.text(value)
  elseif type(value) == 'table' and not frozen[value] then
    local text = value.err
    if type(text) == 'string' or type(text) == 'number' then value = text end
  end
  return false, check_memory(value)
end

local function settle_resumed(ok, ...)
  if ok then return true, ... end
  return false, check_memory(native.plain((...)))
end

local function safe_pcall(...)
  return settle(lua_pcall(...))
end

local function handled(ok, ...)
  if not ok then check_memory((...)) end
  return ok, ...
end

local function safe_xpcall(body, handler)
  return handled(lua_xpcall(body, function(value)
    -- The handler of an ended script would run where nothing can end it.
    if native.is_ended() then return value end
    return handler(check_memory(native.plain(value)))
  end))
end

-- Code comes as text: bytecode can do anything.

local lua_loadstring, concat = loadstring, table.concat

local function text_only(text, name)
  if byte(text, 1) == 27 then return nil, 'bytecode is not loaded' end
  return lua_loadstring(text, name)
end

local function safe_loadstring(text, name)
  if type(text) == 'number' then text = text .. '' end
  if type(text) ~= 'string' then
    error("bad argument #1 to 'loadstring' (string expected, got " .. type(text) .. ')', 2)
  end
  return text_only(text, name)
end

local function safe_load(reader, name)
  if type(reader) ~= 'function' then
    error("bad argument #1 to 'load' (function expected, got " .. type(reader) .. ')', 2)
  end
  local pieces = {}
  while true do
    local piece = reader()
    if piece == nil or piece == '' then break end
    if type(piece) ~= 'string' then return nil, 'reader function must return a string' end
    pieces[#pieces + 1] = piece
  end
  return text_only(concat(pieces), name or '=(load)')
end

-- The library `redis`: `redis.call` is set when a script starts, and serves what else needs the server.

local redis = libraries.redis
local returning, asking = native.returning, native.asking

function redis.pcall(...)
  returning()
  return redis.call(...)
end

function redis.acl_check_cmd(...)
  asking()
  return redis.call(...)
end

function redis.error_reply(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then
    return { err = 'ERR wrong number or type of arguments' }
  end
  if byte(text, 1) == 45 then text = sub(text, 2) end
  if not find(text, ' ', 1, true) then text = 'ERR ' .. text end
  return { err = text }
end

function redis.status_reply(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then
    return { err = 'ERR wrong number or type of arguments' }
  end
  return { ok = text }
end

function redis.replicate_commands() return true end
function redis.breakpoint() return false end
function redis.debug() end

-- Functions of libraries: `redis.register_function` while a library is loaded.

local registering

local function named_arguments(given)
  local entry = { flags = {} }
  for key, value in next, frozen[given] or given do
    if type(key) ~= 'string' then
      error('named argument key given to redis.register_function is not a string', 3)
    elseif key == 'function_name' then
      if type(value) ~= 'string' then error('function_name argument given to redis.register_function must be a string', 3) end
      entry.name = value
    elseif key == 'description' then
      if type(value) ~= 'string' then error('description argument given to redis.register_function must be a string', 3) end
      entry.description = value
    elseif key == 'callback' then
      if type(value) ~= 'function' then error('callback argument given to redis.register_function must be a function', 3) end
      entry.callback = value
    elseif key == 'flags' then
      if type(value) ~= 'table' then
        error('flags argument to redis.register_function must be a table representing function flags', 3)
      end
      for index = 1, #value do
        if type(value[index]) ~= 'string' then error('unknown flag given', 3) end
        entry.flags[index] = value[index]
      end
    else
      error('unknown argument given to redis.register_function', 3)
    end
  end
  if not entry.name then error('redis.register_function must get a function name argument', 3) end
  if not entry.callback then error('redis.register_function must get a callback argument', 3) end
  return entry
end

function redis.register_function(...)
  if not registering then
    error({ err = 'ERR redis.register_function can only be called on FUNCTION LOAD command' }, 0)
  end
  local count, first, second = select('#', ...), ...
  local entry
  if count == 1 then
    if type(first) ~= 'table' then
      error('calling redis.register_function with a single argument is only applicable to Lua table (representing named ' ..
        'arguments).', 2)
    end
    entry = named_arguments(first)
  elseif count == 2 then
    if type(first) ~= 'string' then error('first argument to redis.register_function must be a string', 2) end
    if type(second) ~= 'function' then error('second argument to redis.register_function must be a function', 2) end
    entry = { name = first, callback = second, flags = {} }
  else
    error('wrong number of arguments to redis.register_function', 2)
  end
  if not find(entry.name, '^[%w_]+$') or #entry.name > 128 then
    error('Function names can only contain letters, numbers, or underscores(_) and must be at least one character long', 2)
  end
  if registering[entry.name] then error('Function already exists in the library', 2) end
  registering[entry.name] = true
  registering[#registering + 1] = entry
end

-- Globals.

local lua_collectgarbage = collectgarbage

local function safe_collectgarbage(option, ...)
  -- What a script sets would stay.
  if option == 'stop' or option == 'restart' or option == 'setpause' or option == 'setstepmul' then return 0 end
  return lua_collectgarbage(option, ...)
end

table.insert = guard(table.insert, 'insert')
coroutine.resume = function(...) return settle_resumed(lua_resume(...)) end
math.random, math.randomseed = native.random, native.randomseed

local real = {
  _VERSION = _VERSION,
  assert = assert,
  collectgarbage = safe_collectgarbage,
  error = error,
  gcinfo = gcinfo,
  getmetatable = getmetatable,
  ipairs = ipairs,
  load = safe_load,
  loadstring = safe_loadstring,
  next = safe_next,
  pairs = safe_pairs,
  pcall = safe_pcall,
  rawequal = rawequal,
  rawget = function(table, key)
    needs_table(table, 'rawget')
    return rawget(frozen[table] or table, key)
  end,
  rawset = guard(rawset, 'rawset'),
  select = select,
  setmetatable = guard(setmetatable, 'setmetatable'),
  tonumber = tonumber,
  tostring = tostring,
  type = type,
  unpack = unpack,
  xpcall = safe_xpcall,
  coroutine = freeze(coroutine),
  math = freeze(math),
  os = freeze { clock = os.clock },
  string = freeze(string),
  table = freeze(table),
}
for name, library in next, libraries do real[name] = freeze(library) end
-- As Valkey calls it.
real.server = real.redis

setmetatable(real, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
})
local globals = freeze(real, freeze {})
real._G = globals
getmetatable('').__metatable = freeze {}

local failed = native.failed

local function run(script, keys, arguments, are_given)
  if are_given then
    real.KEYS, real.ARGV = nil, nil
    return lua_xpcall(function() return script(keys, arguments) end, failed)
  end
  real.KEYS, real.ARGV = keys, arguments
  return lua_xpcall(script, failed)
end

-- A library has nobody to call while it is loaded.
local function load_library(code)
  registering = {}
  redis.call, real.KEYS, real.ARGV = nil, nil, nil
  local ok, value = lua_xpcall(code, failed)
  local registered = registering
  registering = nil
  return ok, ok and registered or value
end

return globals, run, load_library
