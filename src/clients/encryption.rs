//! What others may know of a connection's encryption. It must not know how that is done.

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encryption {
    None,
    /// It has not come to that yet.
    Handshake,
    Tls12,
    Tls13,
}

impl Encryption {
    /// As CLIENT LIST has it.
    pub(super) const NAMES: [&str; 4] = ["no", "handshake", "1.2", "1.3"];
}
