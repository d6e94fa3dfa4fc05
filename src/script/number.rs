//! Numbers as text, the way C and Redis write them. It must not know Lua or the protocol.

/// `%.{precision}g`.
pub fn general(number: f64, precision: usize) -> String {
    if !number.is_finite() {
        return not_finite(number).to_owned();
    }
    let scientific = format!("{number:.*e}", precision - 1);
    let (digits, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a small integer");
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(digits), exponent.unsigned_abs());
    }
    let decimals = (precision as i32 - 1 - exponent) as usize;
    trimmed(&format!("{number:.decimals$}")).to_owned()
}

/// The fewest digits that read back as the same number: an integer or a decimal fraction while that is short, else
/// with an exponent.
pub fn shortest(number: f64) -> String {
    if !number.is_finite() {
        return not_finite(number).to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a small integer");
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    // The power of ten that the digits, read as an integer, are multiplied by.
    let scale = exponent - (digits - 1);
    let is_integer = scale >= 0 && exponent < digits + 7;
    let is_fraction = scale < 0 && (scale > -7 || exponent.abs() < 4);
    if is_integer || is_fraction { format!("{number}") } else { format!("{mantissa}e{exponent:+}") }
}

fn not_finite(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ if number.is_sign_negative() => "-nan",
        _ => "nan",
    }
}

/// Without zeros at the end of the fraction.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_c_writes_them() {
        for (number, expect) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (100.0, "100"),
            (0.1, "0.1"),
            (1e15, "1e+15"),
            (123456789012345.0, "1.2345678901234e+14"),
            (99999999999999.0, "99999999999999"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e300, "1e+300"),
            (1.0 / 3.0, "0.33333333333333"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(general(number, 14), expect, "{number:e}");
        }
        assert_eq!(general(0.1, 17), "0.10000000000000001");
    }

    #[test]
    fn as_redis_writes_doubles() {
        for (number, expect) in [
            (3.25, "3.25"),
            (0.1, "0.1"),
            (1e100, "1e+100"),
            (12345678901234567890.0, "12345678901234567000"),
            (1e7, "10000000"),
            (1e9, "1e+9"),
            (1e-5, "0.00001"),
            (1.5e-10, "1.5e-10"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(shortest(number), expect, "{number:e}");
        }
    }
}
