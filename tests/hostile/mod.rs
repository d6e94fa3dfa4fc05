//! The collection of hostile scripts, read: `README.md` beside it says what the files are.

/// One script of a file.
pub struct Hostile {
    pub name: &'static str,
    /// What its reply contains.
    pub expect: &'static str,
    pub source: &'static str,
}

pub const MEMORY: &str = include_str!("memory.lua");
pub const STACK: &str = include_str!("stack.lua");
pub const ROOM: &str = include_str!("room.lua");
pub const ENDLESS: &str = include_str!("endless.lua");

/// The scripts of a file.
pub fn scripts(file: &'static str) -> impl Iterator<Item = Hostile> {
    file.split("--- ").filter(|part| !part.is_empty()).map(|part| {
        let (head, source) = part.split_once('\n').expect("a script follows its name");
        let (name, expect) = head.split_once(" | ").unwrap_or((head, ""));
        Hostile { name, expect, source }
    })
}
