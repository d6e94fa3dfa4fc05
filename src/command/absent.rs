//! The commands of Redis that a cache for strings does not have, and what they are about: whoever calls one is told why
//! it is missing. It must not know anything else.

/// What a missing command is about; `None` for a name that Redis does not have either.
pub fn reason(name: &[u8]) -> Option<&'static str> {
    let found = ABSENT.iter().find(|(_, names)| names.split(' ').any(|known| super::is_word(name, known)));
    found.map(|(family, _)| *family)
}

const ABSENT: [(&str, &str); 8] = [
    (
        "hashes",
        "hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget \
         hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals",
    ),
    (
        "lists",
        "blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset \
         ltrim rpop rpoplpush rpush rpushx sort sort_ro",
    ),
    (
        "sets",
        "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop \
         srandmember srem sscan sunion sunionstore",
    ),
    (
        "sorted sets",
        "bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount \
         zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem \
         zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan \
         zscore zunion zunionstore",
    ),
    (
        "streams",
        "xack xackdel xadd xautoclaim xclaim xdel xdelex xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange \
         xsetid xtrim",
    ),
    ("pub/sub", "psubscribe publish pubsub punsubscribe spublish ssubscribe subscribe sunsubscribe unsubscribe"),
    (
        "geo commands",
        "geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch \
         geosearchstore",
    ),
    ("HyperLogLog", "pfadd pfcount pfdebug pfmerge pfselftest"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_in_no_row() {
        assert_eq!(reason(b"LPUSH"), Some("lists"));
        assert_eq!(reason(b"nope"), None);
        for name in ABSENT.iter().flat_map(|(_, names)| names.split(' ')) {
            assert!(crate::command::Table::get().find(name.as_bytes()).is_none(), "{name}");
        }
    }
}
