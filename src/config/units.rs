//! Quantities as people write them: `1400mb`, `1.4gb`, `70%`. It must not know which option they are for.

use std::fmt;
use std::str::FromStr;

/// Bytes, with Redis's units: `k` is 1,000 and `kb` is 1,024, and so on; a fraction is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "b" => 1,
            "k" => 1_000,
            "kb" | "kib" => 1 << 10,
            "m" => 1_000_000,
            "mb" | "mib" => 1 << 20,
            "g" => 1_000_000_000,
            "gb" | "gib" => 1 << 30,
            _ => return Err(format!("'{text}' is not a size; write it as 64mb, 1.4gb or 1500000000")),
        };
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(factor),
            Err(_) => number
                .parse::<f64>()
                .ok()
                .map(|fraction| fraction * factor as f64)
                .filter(|bytes| *bytes < u64::MAX as f64)
                .map(|bytes| bytes as u64),
        };
        bytes.map(Size).ok_or_else(|| format!("'{text}' is not a size; write it as 64mb, 1.4gb or 1500000000"))
    }
}

impl fmt::Display for Size {
    /// The largest unit that loses nothing, so that what is printed can be given back as an option.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
            if self.0 != 0 && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Bytes, or a share of the memory that the host or the cgroup grants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    Bytes(Size),
    Percent(f64),
}

impl Memory {
    pub fn resolve(self, granted_bytes: u64) -> u64 {
        match self {
            Memory::Bytes(size) => size.0,
            Memory::Percent(percent) => (granted_bytes as f64 * percent / 100.0) as u64,
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Memory, String> {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return text
                .parse()
                .map(Memory::Bytes)
                .map_err(|_: String| format!("'{text}' is not an amount of memory; write it as 1400mb, 1.4gb or 70%"));
        };
        match percent.trim().parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 95.0 => Ok(Memory::Percent(share)),
            _ => Err(format!("'{text}' must be more than 0% and at most 95%")),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Bytes(size) => size.fmt(f),
            Memory::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Bytes for people: `1.40 GiB`.
pub fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1500000000", 1_500_000_000),
            ("1400mb", 1400 << 20),
            ("1.5gb", 3 << 29),
            ("64KB", 65536),
            ("2k", 2000),
            ("3 M", 3_000_000),
            ("100b", 100),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "mb", "1tb", "-1", "1.2.3gb", "99999999999999gb", "ten"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!(Size(1400 << 20).to_string(), "1400mb");
        assert_eq!(Size(3 << 29).to_string(), "1536mb");
        assert_eq!(Size(1001).to_string(), "1001");
    }

    #[test]
    fn memory() {
        assert_eq!("70%".parse::<Memory>().unwrap().resolve(2 << 30), 1_503_238_553);
        assert_eq!("1gb".parse::<Memory>().unwrap().resolve(0), 1 << 30);
        assert!("0%".parse::<Memory>().is_err());
        assert!("96%".parse::<Memory>().is_err());
        assert!("x%".parse::<Memory>().is_err());
        assert_eq!(human(1 << 30), "1.00 GiB");
        assert_eq!(human(12), "12 B");
    }
}
