//! Which cores the threads are bound to, as people write it: `auto`, `off`, `0,2,4-7`. It must not know the host.

use std::fmt;
use std::str::FromStr;

use super::limits;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// To the cores there are, where each thread can have one for itself.
    Auto,
    Off,
    /// One thread to each of these.
    Cores(Vec<usize>),
}

const FORM: &str = "write it as auto, off or a list of cores such as 0,2,4-7";

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Pin, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => return Ok(Pin::Auto),
            "off" | "no" | "false" => return Ok(Pin::Off),
            _ => {}
        }
        let mut cores: Vec<usize> = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<usize>().map_err(|_| FORM.to_owned());
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last - first >= limits::THREADS_MAX {
                return Err(FORM.to_owned());
            }
            cores.extend(first..=last);
        }
        if let Some(twice) = (1..cores.len()).find(|at| cores[..*at].contains(&cores[*at])) {
            return Err(format!("core {} stands there twice", cores[twice]));
        }
        Ok(Pin::Cores(cores))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Auto => f.write_str("auto"),
            Pin::Off => f.write_str("off"),
            Pin::Cores(cores) => f.write_str(&list(cores)),
        }
    }
}

/// Core numbers as they are written: `0,2,4-7`.
pub fn list(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => parts.push((core, core)),
        }
    }
    let shown = parts.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for (text, cores) in [("0", vec![0]), ("0,2,4-7", vec![0, 2, 4, 5, 6, 7]), ("3,1", vec![3, 1])] {
            assert_eq!(text.parse(), Ok(Pin::Cores(cores.clone())));
            assert_eq!(Pin::Cores(cores).to_string(), text);
        }
        assert_eq!("0-1".parse::<Pin>().unwrap().to_string(), "0,1");
        assert_eq!(("auto".parse(), "OFF".parse()), (Ok(Pin::Auto), Ok(Pin::Off)));
        for text in ["", "a", "1-", "3-1", "0-9999999", "1,,2", "-1", "on"] {
            assert!(text.parse::<Pin>().unwrap_err().contains("auto, off"), "{text}");
        }
        assert_eq!("0-3,2".parse::<Pin>(), Err("core 2 stands there twice".to_owned()));
    }
}
