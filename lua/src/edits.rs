//! What is mended in Lua 5.1.5, written from the descriptions of its faults. An edit names the text it replaces: sources in
//! which that does not stand exactly once are not compiled.

/// One change: `old`, which stands once in `file`, becomes `new`.
struct Edit {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const fn edit(file: &'static str, old: &'static str, new: &'static str) -> Edit {
    Edit { file, old, new }
}

/// A file with its edits made.
pub fn edited(file: &str, mut text: String) -> String {
    for Edit { old, new, .. } in GROUPS.iter().copied().flatten().filter(|edit| edit.file == file) {
        assert_eq!(text.matches(old).count(), 1, "{file}: not the text that is to be edited: {old}");
        text = text.replacen(old, new, 1);
    }
    text
}

const GROUPS: [&[Edit]; 7] = [MEMORY, REFUSALS, WORK, GARBAGE, PATTERNS, TABLES, STACK];

/// Behind the interpreter's allocator a refusal of the kernel would be the end of the process. Small blocks have a reserve;
/// for a large one the kernel is asked first whether there are as many pages, and the block that it takes the place of.
const REFUSALS: &[Edit] = &[
    edit("lmem.c", "#include \"lua.h\"", "#include <sys/mman.h>\n\n#include \"lua.h\""),
    edit(
        "lmem.c",
        "void *luaM_realloc_ (lua_State *L, void *block, size_t osize, size_t nsize) {",
        "static int is_granted (size_t size) {\n  void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n  return pages != MAP_FAILED && munmap(pages, size) == 0;\n}\n\n\nvoid *luaM_realloc_ (lua_State *L, void *block, size_t osize, size_t nsize) {",
    ),
    edit(
        "lmem.c",
        "  block = (*g->frealloc)(g->ud, block, osize, nsize);",
        "  if (nsize > osize && nsize >= 512 * 1024 && !is_granted(2 * nsize))\n    luaD_throw(L, LUA_ERRMEM);\n  block = (*g->frealloc)(g->ud, block, osize, nsize);",
    ),
];

/// Faults that reach memory which is not theirs.
const MEMORY: &[Edit] = &[
    // CVE-2025-46817: the number of results overflows an int, and the stack is not grown for them.
    edit(
        "lbaselib.c",
        "  int i, e, n;\n  luaL_checktype(L, 1, LUA_TTABLE);",
        "  int i, e;\n  ptrdiff_t n;\n  luaL_checktype(L, 1, LUA_TTABLE);",
    ),
    edit("lbaselib.c", "  n = e - i + 1;  /* number of elements */", "  n = (ptrdiff_t)e - i + 1;"),
    edit(
        "lbaselib.c",
        "  if (n <= 0 || !lua_checkstack(L, n))  /* n <= 0 means arith. overflow */\n    return luaL_error(L, \"too many results to unpack\");",
        "  if (n > LUAI_MAXCSTACK || !lua_checkstack(L, (int)n))\n    return luaL_error(L, \"too many results to unpack\");\n  luaD_work(L, n >> 2);",
    ),
    edit("lbaselib.c", "    lua_rawgeti(L, 1, i);\n  return n;", "    lua_rawgeti(L, 1, i);\n  return (int)n;"),
    // As many results as fit leave no place for the word that they are well.
    edit(
        "lbaselib.c",
        "static int luaB_pcall (",
        "static int needs_place (lua_State *L) {\n  if (lua_checkstack(L, 1)) return 0;\n  lua_settop(L, 0);\n  lua_pushboolean(L, 0);\n  lua_pushliteral(L, \"stack overflow\");\n  return 1;\n}\n\n\nstatic int luaB_pcall (",
    ),
    edit(
        "lbaselib.c",
        "  status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);",
        "  status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);\n  if (needs_place(L)) return 2;",
    ),
    edit(
        "lbaselib.c",
        "  status = lua_pcall(L, 0, LUA_MULTRET, 1);",
        "  status = lua_pcall(L, 0, LUA_MULTRET, 1);\n  if (needs_place(L)) return 2;",
    ),
    // CVE-2025-49844: nothing holds the chunk's name while a reader in Lua is asked for the first characters.
    edit(
        "lparser.c",
        "  struct FuncState funcstate;\n  lexstate.buff = buff;\n  luaX_setinput(L, &lexstate, z, luaS_new(L, name));",
        "  struct FuncState funcstate;\n  TString *source = luaS_new(L, name);\n  setsvalue2s(L, L->top, source);\n  incr_top(L);\n  lexstate.buff = buff;\n  luaX_setinput(L, &lexstate, z, source);",
    ),
    edit(
        "lparser.c",
        "  lua_assert(lexstate.fs == NULL);\n  return funcstate.f;",
        "  lua_assert(lexstate.fs == NULL);\n  L->top--;\n  return funcstate.f;",
    ),
    // CVE-2025-46819: the level of a long bracket overflows an int.
    edit(
        "llex.c",
        "    save_and_next(ls);\n    count++;\n  }\n  return (ls->current == s)",
        "    save_and_next(ls);\n    if (++count >= 1000000)\n      luaX_lexerror(ls, \"long bracket with too many '='\", 0);\n  }\n  return (ls->current == s)",
    ),
    // Bytecode can do anything, and nothing here makes or keeps it.
    edit(
        "ldo.c",
        "  tf = ((c == LUA_SIGNATURE[0]) ? luaU_undump : luaY_parser)(L, p->z,\n                                                             &p->buff, p->name);",
        "  if (c == LUA_SIGNATURE[0]) luaG_runerror(L, \"bytecode is not loaded\");\n  tf = luaY_parser(L, p->z, &p->buff, p->name);",
    ),
    // The texts of an error about errors must be there before memory is short.
    edit(
        "lstate.c",
        "  luaS_fix(luaS_newliteral(L, MEMERRMSG));",
        "  luaS_fix(luaS_newliteral(L, MEMERRMSG));\n  luaS_fix(luaS_newliteral(L, \"error in error handling\"));",
    ),
    // A double that no int holds: what the conversion gives is the compiler's choice. The least int means no index.
    edit(
        "luaconf.h",
        "#define lua_number2int(i,d)\t((i)=(int)(d))",
        "#define lua_number2int(i,d)\t((i)=((d) > -2147483649.0 && (d) < 2147483648.0) ? (int)(d) : -2147483647-1)",
    ),
];

/// The count hook, which looks at the clock and at SCRIPT KILL, hears of work that is not instructions: library functions
/// that loop call `luaD_work`, which may call the hook and not return; what may not raise calls `luaD_charge`, which makes
/// the hook come earlier. Both count in instructions.
const WORK: &[Edit] = &[
    edit(
        "lua.h",
        "LUA_API int lua_gethookcount (lua_State *L);",
        "LUA_API int lua_gethookcount (lua_State *L);\n\nLUAI_FUNC void luaD_work (lua_State *L, size_t steps);\nLUAI_FUNC void luaD_charge (lua_State *L, size_t steps);",
    ),
    edit(
        "ldo.c",
        "static StkId adjust_varargs (",
        "void luaD_charge (lua_State *L, size_t steps) {\n  if (L->hookmask & LUA_MASKCOUNT)\n    L->hookcount = (L->hookcount > 0 && (size_t)L->hookcount > steps) ? L->hookcount - (int)steps : 1;\n}\n\n\nvoid luaD_work (lua_State *L, size_t steps) {\n  luaD_charge(L, steps);\n  if ((L->hookmask & LUA_MASKCOUNT) && L->hookcount == 1 && L->allowhook) {\n    resethookcount(L);\n    luaD_callhook(L, LUA_HOOKCOUNT, -1);\n  }\n}\n\n\nstatic StkId adjust_varargs (",
    ),
    // Coroutines count on where their resumer stands: many short ones would never be looked at.
    edit(
        "lapi.c",
        "  to->nCcalls = from->nCcalls;",
        "  to->nCcalls = from->nCcalls;\n  if (from->hookcount > 0 && from->hookcount < to->hookcount) to->hookcount = from->hookcount;",
    ),
    edit("lbaselib.c", "  status = lua_resume(co, narg);", "  status = lua_resume(co, narg);\n  luaD_resumed(L, co);"),
    edit(
        "lua.h",
        "LUAI_FUNC void luaD_charge (lua_State *L, size_t steps);",
        "LUAI_FUNC void luaD_charge (lua_State *L, size_t steps);\nLUAI_FUNC void luaD_resumed (lua_State *L, lua_State *co);",
    ),
    edit(
        "ldo.c",
        "void luaD_work (lua_State *L, size_t steps) {",
        "void luaD_resumed (lua_State *L, lua_State *co) {\n  if (L->hookmask & LUA_MASKCOUNT)\n    L->hookcount = (co->hookcount > 0) ? co->hookcount : 1;\n}\n\n\nvoid luaD_work (lua_State *L, size_t steps) {",
    ),
    // Strings: by their bytes, and by the others in the same place of the table of strings.
    edit("lstring.c", "  size_t l1;\n", "  size_t l1;\n  size_t met = 0;\n"),
    edit(
        "lstring.c",
        "    TString *ts = rawgco2ts(o);\n    if (",
        "    TString *ts = rawgco2ts(o);\n    met++;\n    if (",
    ),
    edit(
        "lstring.c",
        "  return newlstr(L, str, l, h);  /* not found */",
        "  if (met + (l >> 6) > 16) luaD_charge(L, met + (l >> 6));\n  return newlstr(L, str, l, h);  /* not found */",
    ),
    edit(
        "lvm.c",
        "    return l_strcmp(rawtsvalue(l), rawtsvalue(r)) < 0;",
        "    return luaD_charge(L, tsvalue(l)->len >> 6), l_strcmp(rawtsvalue(l), rawtsvalue(r)) < 0;",
    ),
    edit(
        "lvm.c",
        "    return l_strcmp(rawtsvalue(l), rawtsvalue(r)) <= 0;",
        "    return luaD_charge(L, tsvalue(l)->len >> 6), l_strcmp(rawtsvalue(l), rawtsvalue(r)) <= 0;",
    ),
    // No number has more digits than that, and to read them takes time.
    edit(
        "lvm.c",
        "  if (ttisstring(obj) && luaO_str2d(svalue(obj), &num)) {",
        "  if (ttisstring(obj) && tsvalue(obj)->len < 65536 && luaO_str2d(svalue(obj), &num)) {",
    ),
    edit(
        "lbaselib.c",
        "    const char *s1 = luaL_checkstring(L, 1);\n    char *s2;",
        "    size_t l1;\n    const char *s1 = luaL_checklstring(L, 1, &l1);\n    char *s2;",
    ),
    edit(
        "lbaselib.c",
        "    n = strtoul(s1, &s2, base);",
        "    luaD_work(L, l1 >> 3);\n    n = strtoul(s1, &s2, base);",
    ),
    edit(
        "lstrlib.c",
        "  luaL_buffinit(L, &b);\n  while (n-- > 0)\n    luaL_addlstring(&b, s, l);",
        "  luaL_buffinit(L, &b);\n  if (l == 0) n = 0;\n  while (n-- > 0) {\n    luaD_work(L, 1 + (l >> 6));\n    luaL_addlstring(&b, s, l);\n  }",
    ),
    // The collector and the parser.
    edit("lapi.c", "      luaC_fullgc(L);\n", "      luaC_fullgc(L);\n      luaD_charge(L, g->totalbytes >> 5);\n"),
    edit(
        "lapi.c",
        "      lu_mem a = (cast(lu_mem, data) << 10);",
        "      lu_mem a = (cast(lu_mem, data) << 10);\n      luaD_charge(L, g->totalbytes >> 5);",
    ),
    edit("lzio.c", "  z->n = size - 1;", "  luaD_charge(L, size);\n  z->n = size - 1;"),
];

/// The collector: a step does what its pace asks for what was made since the last one, and not the same for a byte and for a
/// megabyte: a script that handles long strings would run out of memory that is garbage.
const GARBAGE: &[Edit] = &[edit(
    "lgc.c",
    "  g->gcdept += g->totalbytes - g->GCthreshold;",
    "  g->gcdept += g->totalbytes - g->GCthreshold;\n  lim += (l_mem)(g->gcdept / 100) * g->gcstepmul;\n  g->gcdept = 0;",
)];

/// Patterns: how deep their items may be nested in each other, and what matching them costs.
const PATTERNS: &[Edit] = &[
    edit(
        "lstrlib.c",
        "  int level;  /* total number of captures (finished or unfinished) */",
        "  int level;  /* total number of captures (finished or unfinished) */\n  int depth;  /* calls of `match' that have not returned */",
    ),
    edit(
        "lstrlib.c",
        "static const char *match (MatchState *ms, const char *s, const char *p);\n",
        "static const char *match_from (MatchState *ms, const char *s, const char *p);\n\n#define MATCH_DEPTH_MAX\t3000\n\nstatic const char *match (MatchState *ms, const char *s, const char *p) {\n  const char *res;\n  if (++ms->depth > MATCH_DEPTH_MAX) luaL_error(ms->L, \"pattern too complex\");\n  res = match_from(ms, s, p);\n  ms->depth--;\n  return res;\n}\n",
    ),
    edit(
        "lstrlib.c",
        "static const char *match (MatchState *ms, const char *s, const char *p) {\n  init: /* using goto's to optimize tail recursion */",
        "static const char *match_from (MatchState *ms, const char *s, const char *p) {\n  init: /* using goto's to optimize tail recursion */\n  luaD_work(ms->L, 1);",
    ),
    edit(
        "lstrlib.c",
        "    ms.L = L;\n    ms.src_init = s;\n    ms.src_end = s+l1;",
        "    ms.L = L;\n    ms.depth = 0;\n    ms.src_init = s;\n    ms.src_end = s+l1;",
    ),
    edit(
        "lstrlib.c",
        "  ms.L = L;\n  ms.src_init = s;\n  ms.src_end = s+ls;",
        "  ms.L = L;\n  ms.depth = 0;\n  ms.src_init = s;\n  ms.src_end = s+ls;",
    ),
    edit("lstrlib.c", "  ms.L = L;\n  ms.src_init = src;", "  ms.L = L;\n  ms.depth = 0;\n  ms.src_init = src;"),
    edit(
        "lstrlib.c",
        "      const char *ep = classend(ms, p);  /* points to what is next */\n      int m = s<ms->src_end",
        "      const char *ep = classend(ms, p);  /* points to what is next */\n      int m;\n      luaD_work(ms->L, (size_t)(ep - p) >> 4);\n      m = s<ms->src_end",
    ),
    edit(
        "lstrlib.c",
        "          ep = classend(ms, p);  /* points to what is next */\n          previous",
        "          ep = classend(ms, p);  /* points to what is next */\n          luaD_work(ms->L, (size_t)(ep - p) >> 3);\n          previous",
    ),
    edit(
        "lstrlib.c",
        "  /* keeps trying to match with the maximum repetitions */",
        "  luaD_work(ms->L, ((size_t)i >> 2) + ((size_t)i >> 4) * ((size_t)(ep - p) >> 2));",
    ),
    edit(
        "lstrlib.c",
        "    int cont = 1;\n    while (++s < ms->src_end) {",
        "    int cont = 1;\n    luaD_work(ms->L, (size_t)(ms->src_end - s) >> 3);\n    while (++s < ms->src_end) {",
    ),
    edit(
        "lstrlib.c",
        "  len = ms->capture[l].len;\n  if (",
        "  len = ms->capture[l].len;\n  luaD_work(ms->L, len >> 6);\n  if (",
    ),
    edit(
        "lstrlib.c",
        "static const char *lmemfind (const char *s1, size_t l1,",
        "static const char *lmemfind (lua_State *L, const char *s1, size_t l1,",
    ),
    edit("lstrlib.c", "lmemfind(s+init, l1-init, p, l2)", "lmemfind(L, s+init, l1-init, p, l2)"),
    edit(
        "lstrlib.c",
        "      init++;   /* 1st char is already checked */",
        "      init++;   /* 1st char is already checked */\n      luaD_work(L, 1 + (l2 >> 6));",
    ),
    edit(
        "lstrlib.c",
        "  if (find && (lua_toboolean(L, 4) ||",
        "  luaD_work(L, (l1 >> 8) + (l2 >> 2));\n  if (find && (lua_toboolean(L, 4) ||",
    ),
];

/// Tables: functions that go through them, and rebuilding them.
const TABLES: &[Edit] = &[
    edit(
        "ltable.c",
        "  int i = findindex(L, t, key);  /* find original element */\n",
        "  int i = findindex(L, t, key);  /* find original element */\n  int from = i;\n",
    ),
    edit(
        "ltable.c",
        "      setobj2s(L, key+1, &t->array[i]);\n",
        "      setobj2s(L, key+1, &t->array[i]);\n      if (i - from > 16) luaD_charge(L, i - from);\n",
    ),
    edit(
        "ltable.c",
        "      setobj2s(L, key+1, gval(gnode(t, i)));\n",
        "      setobj2s(L, key+1, gval(gnode(t, i)));\n      if (i + t->sizearray - from > 16) luaD_charge(L, i + t->sizearray - from);\n",
    ),
    edit(
        "ltable.c",
        "  return 0;  /* no more elements */",
        "  if (i + t->sizearray - from > 16) luaD_charge(L, i + t->sizearray - from);\n  return 0;  /* no more elements */",
    ),
    edit(
        "ltable.c",
        "  nasize = numusearray(t, nums);  /* count keys in array part */",
        "  luaD_charge(L, (size_t)t->sizearray + sizenode(t));\n  nasize = numusearray(t, nums);  /* count keys in array part */",
    ),
    edit(
        "ltablib.c",
        "      for (i = e; i > pos; i--) {  /* move up elements */",
        "      for (i = e; i > pos; i--) {  /* move up elements */\n        luaD_work(L, 1);",
    ),
    edit("ltablib.c", "  for ( ;pos<e; pos++) {", "  for ( ;pos<e; pos++) {\n    luaD_work(L, 1);"),
    edit(
        "ltablib.c",
        "  lua_rawgeti(L, 1, i);\n  if (!lua_isstring(L, -1))",
        "  luaD_work(L, 1);\n  lua_rawgeti(L, 1, i);\n  if (!lua_isstring(L, -1))",
    ),
    edit(
        "ltablib.c",
        "static int sort_comp (lua_State *L, int a, int b) {",
        "static int sort_comp (lua_State *L, int a, int b) {\n  luaD_work(L, 2);",
    ),
    edit("ltablib.c", "  for (i=1; i <= n; i++) {", "  for (i=1; i <= n; i++) {\n    luaD_work(L, 1);"),
    edit(
        "ltablib.c",
        "  while (lua_next(L, 1)) {\n    lua_pushvalue(L, 2);",
        "  while (lua_next(L, 1)) {\n    luaD_work(L, 1);\n    lua_pushvalue(L, 2);",
    ),
    edit(
        "ltablib.c",
        "    lua_pop(L, 1);  /* remove value */",
        "    luaD_work(L, 1);\n    lua_pop(L, 1);  /* remove value */",
    ),
];

/// The stack of the machine: at 200 calls of C functions within each other, each with a buffer, this is most of it.
const STACK: &[Edit] = &[edit("luaconf.h", "#define LUAL_BUFFERSIZE\t\tBUFSIZ", "#define LUAL_BUFFERSIZE\t\t1024")];
