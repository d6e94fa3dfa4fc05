//! Sizes, counts, durations and rates as people write and read them. Knows nothing of what they are for.

use std::time::Duration;

/// Parses a count such as `5000`, `100k` or `2M` (decimal multiples).
pub fn parse_count(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        "g" | "G" => 1e9,
        _ => return Err(format!("'{text}' is not a count; write it like 5000, 100k or 2M")),
    };
    Ok((number * factor).round() as u64)
}

/// Parses a size in bytes such as `64`, `1KiB`, `10MiB` or `1kB`.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return Err(format!("'{text}' is not a size; write it like 64, 1KiB or 10MiB")),
    };
    Ok((number * factor).round() as usize)
}

/// Parses an amount of memory as Redis's configuration has it: `1mb` is 1,048,576 bytes, `1m` a million.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" => 1e3,
        "kb" | "kib" => 1024.0,
        "m" => 1e6,
        "mb" | "mib" => 1024.0 * 1024.0,
        "g" => 1e9,
        "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("'{text}' is no amount of memory; write it like 16mb or 1gb")),
    };
    Ok((number * factor).round() as u64)
}

/// Parses a duration such as `500us`, `20ms`, `10s`, `5m` or `1h`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "s" => 1.0,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("'{text}' is not a duration; write it like 500us, 20ms, 10s or 5m")),
    };
    let duration = Duration::try_from_secs_f64(number * factor);
    duration.map_err(|_| format!("'{text}' is too long"))
}

fn split(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number = text[..end].parse().map_err(|_| format!("'{text}' does not start with a number"))?;
    Ok((number, text[end..].trim()))
}

/// `12,345,678`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A latency in nanoseconds with three digits and its unit: `87.3 µs`, `1.25 ms`, `2.10 s`.
pub fn latency(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (scaled, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(scaled))
}

/// A number with three significant digits, without an exponent.
pub fn three_digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A share between 0 and 1: `73.12%`.
pub fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// Bytes with a binary unit: `64 B`, `1 KiB`, `10 MiB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let text = format!("{value:.1}");
            return format!("{} {unit}", text.trim_end_matches(".0"));
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_sizes_and_durations_carry_their_units() {
        assert_eq!(parse_count("100k"), Ok(100_000));
        assert_eq!(parse_size("1KiB"), Ok(1024));
        assert_eq!(parse_size("1.5kB"), Ok(1500));
        assert_eq!((parse_memory("16mb"), parse_memory("1.5g")), (Ok(16 << 20), Ok(1_500_000_000)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2"), Ok(Duration::from_secs(2)));
        for bad in ["", "ten", "5 parsecs", "-1"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
            assert!(parse_size(bad).is_err(), "{bad}");
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(latency(999), "999 ns");
        assert_eq!(latency(87_300), "87.3 µs");
        assert_eq!(latency(1_250_000), "1.25 ms");
        assert_eq!(bytes(1024), "1 KiB");
        assert_eq!(bytes(1536), "1.5 KiB");
    }
}
