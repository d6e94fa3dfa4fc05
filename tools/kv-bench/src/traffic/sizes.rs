//! How long keys and values are: fixed, a range, a distribution, or a mixture. Knows nothing of what is in them.
//!
//! A size belongs to a key: the same key number always gets the same size, as in a real data set, so that a run over
//! the same keys neither grows nor shrinks what the server holds.

use crate::units::parse_size;
use std::{fmt, str::FromStr};

/// The longest size that a distribution with an open tail yields: what memcached's default item limit (1 MiB) lets
/// pass.
const TAIL_LIMIT_BYTES: usize = 1_000_000;

/// Sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    Fixed(usize),
    /// Evenly between the two, both included.
    Range(usize, usize),
    /// Generalized Pareto: location, scale, shape.
    Pareto(f64, f64, f64),
    /// Generalized extreme value: location, scale, shape.
    Gev(f64, f64, f64),
    /// Each part with its weight.
    Mixture(Vec<(Sizes, f64)>),
}

impl Sizes {
    /// The value sizes of Facebook's ETC pool: a table up to 14 bytes, a generalized Pareto tail from 15 bytes. Source:
    /// Atikoglu et al., "Workload Analysis of a Large-Scale Key-Value Store", SIGMETRICS 2012; mutilate uses the same
    /// numbers.
    pub fn etc_values() -> Sizes {
        const SHARES: [f64; 15] = [
            0.00536, 0.00047, 0.17820, 0.09239, 0.00018, 0.02740, 0.00065, 0.00606, 0.00023, 0.00837, 0.00837, 0.08989,
            0.00092, 0.00326, 0.01980,
        ];
        let mut parts: Vec<_> = SHARES.iter().enumerate().map(|(size, share)| (Sizes::Fixed(size), *share)).collect();
        parts.push((Sizes::Pareto(15.0, 214.476, 0.348238), 1.0 - SHARES.iter().sum::<f64>()));
        Sizes::Mixture(parts)
    }

    /// The key sizes of the same pool.
    pub fn etc_keys() -> Sizes {
        Sizes::Gev(30.7984, 8.20449, 0.078688)
    }

    /// The size of the item with this number.
    pub fn of(&self, item: u64) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
            _ => self.at(unit_interval(item)),
        }
    }

    /// The size at a quantile in (0, 1): the inverse of the distribution function.
    fn at(&self, quantile: f64) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Range(low, high) => low + ((high - low + 1) as f64 * quantile) as usize,
            Sizes::Pareto(location, scale, shape) => {
                limited(location + scale * ((1.0 - quantile).powf(-shape) - 1.0) / shape)
            }
            Sizes::Gev(location, scale, shape) => {
                limited(location + scale * ((-quantile.ln()).powf(-shape) - 1.0) / shape)
            }
            Sizes::Mixture(parts) => {
                let mut rest = quantile * parts.iter().map(|part| part.1).sum::<f64>();
                for (sizes, weight) in parts {
                    if rest < *weight {
                        return sizes.at(rest / weight);
                    }
                    rest -= weight;
                }
                parts.last().map_or(0, |part| part.0.at(0.5)) // rounding took us past the last weight
            }
        }
    }

    /// No size is longer than this.
    pub fn longest(&self) -> usize {
        match self {
            Sizes::Fixed(size) | Sizes::Range(_, size) => *size,
            Sizes::Pareto(..) | Sizes::Gev(..) => TAIL_LIMIT_BYTES,
            Sizes::Mixture(parts) => parts.iter().map(|part| part.0.longest()).max().unwrap_or(0),
        }
    }

    /// The mean over a sample of items, in bytes.
    pub fn mean(&self) -> f64 {
        const SAMPLE: u64 = 10_000;
        (0..SAMPLE).map(|item| self.of(item) as f64).sum::<f64>() / SAMPLE as f64
    }
}

fn limited(size: f64) -> usize {
    (size.max(0.0) as usize).min(TAIL_LIMIT_BYTES)
}

/// Spreads item numbers evenly over (0, 1), always in the same way (the finalizer of splitmix64: Steele et al., OOPSLA
/// 2014).
fn unit_interval(item: u64) -> f64 {
    let mut mixed = item.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

impl FromStr for Sizes {
    type Err = String;

    /// `64`, `64-1024`, `pareto:LOC,SCALE,SHAPE`, `gev:LOC,SCALE,SHAPE`, or a mixture such as `64@999,10MiB@1`.
    fn from_str(text: &str) -> Result<Sizes, String> {
        if let Some(numbers) = text.strip_prefix("pareto:") {
            return three(numbers).map(|[location, scale, shape]| Sizes::Pareto(location, scale, shape));
        }
        if let Some(numbers) = text.strip_prefix("gev:") {
            return three(numbers).map(|[location, scale, shape]| Sizes::Gev(location, scale, shape));
        }
        if text.contains('@') {
            return text.split(',').map(weighted).collect::<Result<_, _>>().map(Sizes::Mixture);
        }
        match text.split_once('-') {
            None => parse_size(text).map(Sizes::Fixed),
            Some((low, high)) => match (parse_size(low)?, parse_size(high)?) {
                (low, high) if low <= high => Ok(Sizes::Range(low, high)),
                _ => Err(format!("'{text}' is a range whose end lies before its start")),
            },
        }
    }
}

fn weighted(part: &str) -> Result<(Sizes, f64), String> {
    let (sizes, weight) =
        part.split_once('@').ok_or_else(|| format!("'{part}' lacks its weight; write it like 64@999,10MiB@1"))?;
    match weight.parse::<f64>() {
        Ok(weight) if weight > 0.0 && weight.is_finite() => Ok((sizes.parse()?, weight)),
        _ => Err(format!("'{weight}' is not a weight above 0")),
    }
}

fn three(text: &str) -> Result<[f64; 3], String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
    match numbers.ok().and_then(|numbers| <[f64; 3]>::try_from(numbers).ok()) {
        Some(numbers) if numbers[2] != 0.0 => Ok(numbers),
        _ => Err(format!("'{text}' should be location,scale,shape with a shape other than 0")),
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Sizes::Fixed(size) => write!(f, "{}", crate::units::bytes(*size as u64)),
            Sizes::Range(low, high) => {
                write!(f, "{} to {}", crate::units::bytes(*low as u64), crate::units::bytes(*high as u64))
            }
            _ => write!(f, "{} on average", crate::units::bytes(self.mean().round() as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!("1KiB".parse(), Ok(Sizes::Fixed(1024)));
        assert_eq!("64-1024".parse(), Ok(Sizes::Range(64, 1024)));
        let mixture = vec![(Sizes::Fixed(64), 999.0), (Sizes::Fixed(10 << 20), 1.0)];
        assert_eq!("64@999,10MiB@1".parse(), Ok(Sizes::Mixture(mixture)));
        for bad in ["", "big", "9-3", "64@", "64@0", "64@1,5", "gev:1,2", "pareto:1,2,0"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_keeps_its_size_and_ranges_keep_their_ends() {
        let range = Sizes::Range(10, 20);
        let drawn: Vec<usize> = (0..10_000).map(|item| range.of(item)).collect();
        assert!(drawn.iter().all(|size| (10..=20).contains(size)));
        assert!(drawn.contains(&10) && drawn.contains(&20));
        assert_eq!(drawn[77], range.of(77));
    }

    #[test]
    fn the_etc_values_have_the_published_shape() {
        let values = Sizes::etc_values();
        let drawn: Vec<usize> = (0..200_000).map(|item| values.of(item)).collect();
        let share = |predicate: &dyn Fn(usize) -> bool| {
            drawn.iter().filter(|size| predicate(**size)).count() as f64 / drawn.len() as f64
        };
        assert!((share(&|size| size == 2) - 0.1782).abs() < 0.005);
        assert!((share(&|size| size < 15) - 0.44155).abs() < 0.005);
        // The mean of a generalized Pareto is location + scale / (1 - shape): 344 bytes, for 56% of the values.
        assert!((180.0..230.0).contains(&values.mean()), "{}", values.mean());
        assert!(drawn.iter().all(|size| *size <= values.longest()));
    }

    #[test]
    fn a_mixture_keeps_its_weights() {
        let mixture: Sizes = "64@999,4096@1".parse().unwrap();
        let large = (0..1_000_000).filter(|item| mixture.of(*item) == 4096).count();
        assert!((800..1200).contains(&large), "{large}");
        assert_eq!(mixture.longest(), 4096);
    }
}
