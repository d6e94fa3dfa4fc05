//! Numbers as INCRBYFLOAT counts with them: 80-bit floats, read from text and written with up to 17 decimals.
//! It must not know commands.

use std::fmt;
use std::ops::{Add, Sub};

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Round, Status, StatusAnd};

/// As long a text as Redis reads.
const TEXT_MAX_BYTES: usize = 5 * 1024;
const DECIMALS: usize = 17;
const DECIMALS_POWER: u64 = 10u64.pow(DECIMALS as u32);
const MANTISSA_BITS: u32 = 64;
const EXPONENT_BIAS: i32 = 16_383;
/// Decimal digits in a limb of a large whole number.
const LIMB_DIGITS: usize = 18;
const LIMB: u128 = 10u128.pow(LIMB_DIGITS as u32);

#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    pub const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    pub fn largest() -> LongDouble {
        LongDouble(X87DoubleExtended::largest())
    }

    pub fn smallest() -> LongDouble {
        LongDouble(-X87DoubleExtended::largest())
    }

    /// As `strtold` reads it, except that nothing may stand around it, and that what has no value near it is refused.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() < TEXT_MAX_BYTES)?.to_ascii_lowercase();
        let (negative, magnitude) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text.as_str()),
        };
        let value = match magnitude {
            "inf" | "infinity" => X87DoubleExtended::INFINITY,
            _ => parse_finite(magnitude)?,
        };
        Some(LongDouble(if negative { -value } else { value }))
    }

    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }
}

impl Add for LongDouble {
    type Output = LongDouble;

    fn add(self, other: LongDouble) -> LongDouble {
        LongDouble((self.0 + other.0).value)
    }
}

impl Sub for LongDouble {
    type Output = LongDouble;

    fn sub(self, other: LongDouble) -> LongDouble {
        LongDouble((self.0 - other.0).value)
    }
}

/// A number without a sign, decimal or hexadecimal.
fn parse_finite(text: &str) -> Option<X87DoubleExtended> {
    let (digits, radix, mark) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16, 'p'),
        None => (text, 10, 'e'),
    };
    let (mantissa, exponent) = digits.split_once(mark).unwrap_or((digits, "0"));
    let exponent_digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |text: &str, radix| text.chars().all(|digit| digit.is_digit(radix));
    let is_written_well = is_number(whole, radix)
        && is_number(fraction, radix)
        && is_number(exponent_digits, 10)
        && !(whole.is_empty() && fraction.is_empty())
        && !exponent_digits.is_empty();
    if !is_written_well {
        return None;
    }
    if whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0') {
        return Some(X87DoubleExtended::ZERO);
    }
    let prefix = if radix == 16 { "0x" } else { "" };
    let text = format!("{prefix}{whole}.{fraction}{mark}{exponent}");
    let StatusAnd { status, value } = X87DoubleExtended::from_str_r(&text, Round::NearestTiesToEven).ok()?;
    (!status.contains(Status::OVERFLOW) && !value.is_zero()).then_some(value)
}

/// A finite number with at most 17 decimals, and none that are not needed.
impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        let exponent = ((bits >> MANTISSA_BITS) as i32 & 0x7fff).max(1) - EXPONENT_BIAS - (MANTISSA_BITS as i32 - 1);
        let (whole, decimals) = match exponent {
            0.. => (shifted(mantissa, exponent as u32), 0),
            _ => rounded(mantissa, -exponent as u32),
        };
        let decimals = format!("{decimals:0width$}", width = DECIMALS);
        let decimals = decimals.trim_end_matches('0');
        let is_zero = whole == "0" && decimals.is_empty();
        let sign = if self.0.is_negative() && !is_zero { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{decimals}")
    }
}

/// `mantissa / 2^places`: the whole part, and the rest in units of the last decimal, rounded to even.
fn rounded(mantissa: u64, places: u32) -> (String, u64) {
    let whole = mantissa.checked_shr(places).unwrap_or(0);
    let rest = mantissa - whole.checked_shl(places).unwrap_or(0);
    // Less than 2^121.
    let scaled = rest as u128 * DECIMALS_POWER as u128;
    if places > 122 {
        return (whole.to_string(), 0);
    }
    let (units, remainder, half) = (scaled >> places, scaled & ((1 << places) - 1), 1u128 << (places - 1));
    let up = remainder > half || remainder == half && units & 1 == 1;
    let units = units as u64 + up as u64;
    if units == DECIMALS_POWER { ((whole + 1).to_string(), 0) } else { (whole.to_string(), units) }
}

/// `mantissa * 2^places` in decimal.
fn shifted(mantissa: u64, places: u32) -> String {
    let mut limbs = vec![mantissa as u128];
    let mut left = places;
    loop {
        let shift = left.min(64);
        let mut carry = 0;
        for limb in &mut limbs {
            let product = (*limb << shift) + carry;
            (*limb, carry) = (product % LIMB, product / LIMB);
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= shift;
        if left == 0 {
            break;
        }
    }
    let mut text = limbs.pop().expect("a number has digits").to_string();
    limbs.iter().rev().for_each(|limb| text.push_str(&format!("{limb:0width$}", width = LIMB_DIGITS)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, other: &str) -> String {
        (LongDouble::parse(one.as_bytes()).unwrap() + LongDouble::parse(other.as_bytes()).unwrap()).to_string()
    }

    #[test]
    fn sums_are_those_of_80_bits() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("5.0e3", "200"), "5200");
        assert_eq!(sum("3", "1.5"), "4.5");
        assert_eq!(sum("1", "-1"), "0");
        assert_eq!(sum("-1e-30", "0"), "0");
        assert_eq!(sum("17179869184", "1.5"), "17179869185.5");
        assert_eq!(sum("0x10", "0x1.8p1"), "19");
        assert_eq!(sum("9223372036854775807", "1"), "9223372036854775808");
        assert_eq!(sum("18446744073709551615", "0"), "18446744073709551615");
        assert_eq!(sum("1e40", "0"), "9999999999999999999783686092270256259072");
        assert_eq!(sum("0.999999999999999999", "0"), "1");
        assert_eq!(sum("1e4932", "0").len(), 4933);
        assert_eq!(sum("3.6e-4951", "0"), "0");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "1.2.3", "e5", "1e", ".", "-", "+-1", "nan", "1_0", "0x", "0xg", "1e5000", "1e-5000", "1\0",
        ] {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        for text in ["1.", ".5", "+1", "-0", "INF", "-infinity", "0X1P-2", "1E5", "0e99999", "00012"] {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        assert!(LongDouble::parse(&[b'1'; TEXT_MAX_BYTES]).is_none());
    }
}
