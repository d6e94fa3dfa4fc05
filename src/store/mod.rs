//! Where the data lies: the keyspace, its locks, and its shards.

pub mod guards;
pub mod hot;
pub mod keyspace;
pub mod shard;
