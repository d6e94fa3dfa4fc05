//! Where the data lies: the keyspace, and its shards.

pub mod keyspace;
pub mod shard;
