//! The commands of Redis that a cache for strings does not have: whoever calls one is told why. It must not know
//! anything else.

/// Why a command is missing; `None` for a name that Redis does not have either.
pub fn reason(name: &[u8]) -> Option<&'static str> {
    let found = ABSENT.iter().find(|(_, names)| names.split(' ').any(|known| super::is_word(name, known)));
    found.map(|(reason, _)| *reason)
}

const ABSENT: [(&str, &str); 11] = [
    (
        "kv-cache serves strings only: no hashes",
        "hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget \
         hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals",
    ),
    (
        "kv-cache serves strings only: no lists",
        "blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset \
         ltrim rpop rpoplpush rpush rpushx sort sort_ro",
    ),
    (
        "kv-cache serves strings only: no sets",
        "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop \
         srandmember srem sscan sunion sunionstore",
    ),
    (
        "kv-cache serves strings only: no sorted sets",
        "bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount \
         zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem \
         zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan \
         zscore zunion zunionstore",
    ),
    (
        "kv-cache serves strings only: no streams",
        "xack xackdel xadd xautoclaim xclaim xdel xdelex xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange \
         xsetid xtrim",
    ),
    (
        "kv-cache serves strings only: no pub/sub",
        "psubscribe publish pubsub punsubscribe spublish ssubscribe sunsubscribe",
    ),
    (
        "kv-cache serves strings only: no geo commands",
        "geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch \
         geosearchstore",
    ),
    ("kv-cache serves strings only: no HyperLogLog", "pfadd pfcount pfdebug pfmerge pfselftest"),
    ("kv-cache keeps nothing on disk", "bgrewriteaof bgsave lastsave restore-asking save waitaof"),
    ("kv-cache does not replicate", "failover psync replconf replicaof slaveof sync"),
    ("kv-cache is no cluster", "asking migrate"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_in_no_row() {
        assert_eq!(reason(b"LPUSH"), Some("kv-cache serves strings only: no lists"));
        assert_eq!(reason(b"nope"), None);
        for name in ABSENT.iter().flat_map(|(_, names)| names.split(' ')) {
            assert!(crate::command::Table::get().find(name.as_bytes()).is_none(), "{name}");
        }
    }
}
