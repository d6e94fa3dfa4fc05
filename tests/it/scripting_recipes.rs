//! What people write scripts for: locks, counters that expire, rate limits, as well-known libraries do it.

use crate::harness::{Engine, Server, on_every_driver};
use crate::scripting::{eval, evalsha, load};
use crate::wire::Value;

on_every_driver!(a_lock_is_released_and_extended_by_its_owner, counters_that_expire, rate_limits);

/// As redis-py's `Lock`, Redlock and Laravel's locks do it: compare the token, then act.
fn a_lock_is_released_and_extended_by_its_owner(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let release = "local token = redis.call('get', KEYS[1])\n\
                   if not token or token ~= ARGV[1] then return 0 end\n\
                   redis.call('del', KEYS[1])\nreturn 1";
    let extend = "local token = redis.call('get', KEYS[1])\n\
                  if not token or token ~= ARGV[1] then return 0 end\n\
                  local left = redis.call('pttl', KEYS[1])\n\
                  if not left then left = 0 end\n\
                  if left < 0 then return 0 end\n\
                  local wanted = ARGV[2]\n\
                  if ARGV[3] == '0' then wanted = ARGV[2] + left end\n\
                  redis.call('pexpire', KEYS[1], wanted)\nreturn 1";
    let (release, extend) = (load(&mut client, release), load(&mut client, extend));
    client.check("SET lock mine NX PX 60000", "+OK\r\n");
    assert_eq!(evalsha(&mut client, &extend, &["lock"], &["theirs", "1000", "0"]), Value::Integer(0));
    assert_eq!(evalsha(&mut client, &extend, &["lock"], &["mine", "100000", "0"]), Value::Integer(1));
    let left = client.call(&["PTTL", "lock"]).integer();
    assert!((100_000..=160_000).contains(&left), "{left}");
    assert_eq!(evalsha(&mut client, &extend, &["lock"], &["mine", "5000000", "1"]), Value::Integer(1));
    assert!(client.call(&["PTTL", "lock"]).integer() > 4_000_000);
    assert_eq!(evalsha(&mut client, &release, &["lock"], &["theirs"]), Value::Integer(0));
    assert_eq!(evalsha(&mut client, &release, &["lock"], &["mine"]), Value::Integer(1));
    assert_eq!(evalsha(&mut client, &release, &["lock"], &["mine"]), Value::Integer(0));
    // Several resources at once, all or none.
    let acquire = "for i, key in ipairs(KEYS) do if redis.call('exists', key) == 1 then return 0 end end\n\
                   for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', ARGV[2]) end return #KEYS";
    assert_eq!(eval(&mut client, acquire, &["r1", "r2", "r3"], &["me", "5000"]), Value::Integer(3));
    assert_eq!(eval(&mut client, acquire, &["r3", "r4"], &["me", "5000"]), Value::Integer(0));
}

/// As django-redis, Laravel's `add` and session stores do it.
fn counters_that_expire(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let add = "return redis.call('exists', KEYS[1]) < 1 and redis.call('setex', KEYS[1], ARGV[2], ARGV[1])";
    assert_eq!(eval(&mut client, add, &["k"], &["1", "100"]).text(), "OK");
    assert_eq!(eval(&mut client, add, &["k"], &["2", "100"]), Value::Null);
    let increment = "local left = redis.call('pttl', KEYS[1])\n\
                     local value = redis.call('get', KEYS[1])\n\
                     if not value then return false end\n\
                     local sum = redis.call('incrby', KEYS[1], ARGV[1])\n\
                     if left > 0 then redis.call('pexpire', KEYS[1], left) end\nreturn sum";
    assert_eq!(eval(&mut client, increment, &["k"], &["41"]), Value::Integer(42));
    assert!(client.call(&["TTL", "k"]).integer() > 90);
    assert_eq!(eval(&mut client, increment, &["none"], &["1"]), Value::Null);
    let session = "local old = redis.call('get', KEYS[1])\n\
                   if old == ARGV[1] then redis.call('set', KEYS[1], ARGV[2], 'EX', ARGV[3]) return cjson.encode({ok = true}) end\n\
                   return cjson.encode({ok = false, old = old})";
    assert_eq!(eval(&mut client, session, &["k"], &["41", "x", "9"]).text(), r#"{"ok":false,"old":"42"}"#);
    assert_eq!(eval(&mut client, session, &["k"], &["42", "x", "9"]).text(), r#"{"ok":true}"#);
}

/// As rate-limit-redis, rate-limiter-flexible and redis_rate do it.
fn rate_limits(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    // A window that begins with the first hit.
    let window = load(
        &mut client,
        "local hits = redis.call('INCR', KEYS[1])\n\
         local left = redis.call('PTTL', KEYS[1])\n\
         if left <= 0 or ARGV[1] == '1' then redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2])) left = tonumber(ARGV[2]) end\n\
         return {hits, left}",
    );
    for hits in 1..=3 {
        let reply = evalsha(&mut client, &window, &["w"], &["0", "60000"]);
        assert_eq!(reply.elements()[0], Value::Integer(hits));
        assert!((50_000..=60_000).contains(&reply.elements()[1].integer()));
    }
    // Points that are consumed.
    let points = "redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX') \
                  local consumed = redis.call('incrby', KEYS[1], ARGV[1]) \
                  local left = redis.call('pttl', KEYS[1]) \
                  if left == -1 then redis.call('expire', KEYS[1], ARGV[2]) left = 1000 * ARGV[2] end \
                  return {consumed, left}";
    assert_eq!(eval(&mut client, points, &["p"], &["3", "10"]).elements()[0], Value::Integer(3));
    assert_eq!(eval(&mut client, points, &["p"], &["3", "10"]).elements()[0], Value::Integer(6));
    // A leaky bucket with fractions of seconds: the time of the next arrival is kept.
    let bucket = "redis.replicate_commands()\n\
                  local burst, rate, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])\n\
                  local interval = period / rate\n\
                  local now = redis.call('TIME')\n\
                  now = (now[1] - 1483228800) + (now[2] / 1000000)\n\
                  local arrival = redis.call('GET', KEYS[1])\n\
                  if not arrival then arrival = now else arrival = tonumber(arrival) end\n\
                  arrival = math.max(arrival, now)\n\
                  local after = arrival + interval * cost\n\
                  local left = (now - (after - interval * burst)) / interval\n\
                  if left < 0 then return {0, 0, tostring(arrival - now), tostring(after - now)} end\n\
                  redis.call('SET', KEYS[1], after, 'EX', math.ceil(after - now))\n\
                  return {cost, left, tostring(-1), tostring(after - now)}";
    let mut taken = 0;
    for _ in 0..8 {
        taken += eval(&mut client, bucket, &["b"], &["5", "1", "3600", "1"]).elements()[0].integer();
    }
    assert_eq!(taken, 5);
}
