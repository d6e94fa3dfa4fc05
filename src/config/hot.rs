//! What the cores may keep of the hottest values: the option `hot-cache`. It must not know what is hot.

use std::fmt;
use std::str::FromStr;

use super::limits;
use super::units::Size;

/// For all cores together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotMemory {
    Auto,
    Off,
    Bytes(Size),
}

impl HotMemory {
    /// What it comes to under a memory cap. One core has nobody to wait for, and keeps nothing.
    pub fn resolve(self, memory_cap_bytes: usize, cores: usize) -> usize {
        match self {
            _ if cores == 1 => 0,
            HotMemory::Off => 0,
            HotMemory::Auto => (memory_cap_bytes / limits::HOT_SHARE).min(cores * limits::HOT_CORE_BYTES),
            HotMemory::Bytes(Size(bytes)) => (memory_cap_bytes / limits::HOT_SHARE_MAX).min(bytes as usize),
        }
    }
}

impl FromStr for HotMemory {
    type Err = String;

    fn from_str(text: &str) -> Result<HotMemory, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" | "on" | "yes" => Ok(HotMemory::Auto),
            "off" | "no" | "0" => Ok(HotMemory::Off),
            size => size
                .parse()
                .map(HotMemory::Bytes)
                .map_err(|_: String| format!("'{text}' is not auto, off or a size such as 16mb")),
        }
    }
}

impl fmt::Display for HotMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HotMemory::Auto => f.write_str("auto"),
            HotMemory::Off => f.write_str("off"),
            HotMemory::Bytes(size) => size.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_to_a_bounded_amount() {
        const MIB: usize = 1 << 20;
        for (text, shown, cores, cap, bytes) in [
            ("auto", "auto", 2, 512 * MIB, 2 * MIB),
            ("auto", "auto", 8, 512 * MIB, 2 * MIB),
            ("AUTO", "auto", 1, 512 * MIB, 0),
            ("off", "off", 8, 512 * MIB, 0),
            ("no", "off", 8, 512 * MIB, 0),
            ("0", "off", 8, 512 * MIB, 0),
            ("16mb", "16mb", 8, 512 * MIB, 16 * MIB),
            ("1gb", "1gb", 8, 512 * MIB, 32 * MIB),
            ("16mb", "16mb", 1, 512 * MIB, 0),
        ] {
            let memory: HotMemory = text.parse().unwrap();
            assert_eq!((memory.to_string(), memory.resolve(cap, cores)), (shown.to_owned(), bytes), "{text}");
        }
        assert!(["", "much", "-1", "10%"].iter().all(|text| text.parse::<HotMemory>().is_err()));
    }
}
