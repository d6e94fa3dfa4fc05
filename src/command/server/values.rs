//! What CONFIG SET is given as text: numbers, sizes, switches and what the log is like, with Redis's errors.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use crate::config::limits;
use crate::config::units::Size;
use crate::config::{LfuRules, LogFormat, LogLevel};
use crate::observe::log;
use crate::observe::slowlog::CommandLog;
use crate::shared::Shared;
use crate::store::guards::AllShards;

pub fn number<N: FromStr + PartialOrd + Display>(text: &str, least: N, most: N) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if (&least..=&most).contains(&&number) => Ok(number),
        // Out of the type's range is out of ours.
        Err(_) if text.parse::<i128>().is_err() => Err("argument couldn't be parsed into an integer".to_owned()),
        _ => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

pub const fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => Ok(true),
        "no" | "off" | "false" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

/// Redis's names for the levels, and ours.
const LEVELS: [(&str, LogLevel); 8] = [
    ("debug", LogLevel::Debug),
    ("notice", LogLevel::Info),
    ("warning", LogLevel::Warn),
    ("nothing", LogLevel::Error),
    ("verbose", LogLevel::Info),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
];

pub fn redis_level(level: LogLevel) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("notice", |(name, _)| name)
}

pub fn set_log_level(_: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let (_, level) =
        found.ok_or("argument(s) must be one of the following: debug, verbose, notice, warning, nothing")?;
    log::set_level(*level);
    Ok(())
}

pub fn set_log_format(_: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    let format = <LogFormat as clap::ValueEnum>::from_str(text, true)
        .map_err(|_| "argument(s) must be one of the following: text, logfmt, json")?;
    log::set_format(format);
    Ok(())
}

/// An empty name is standard error.
pub fn set_log_file(_: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    let path = (!text.is_empty()).then(|| Path::new(text));
    log::set_file(path).map_err(|error| format!("Can't open the log file: {error}"))
}

pub fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<Size>() {
        Ok(Size(bytes)) if (least..=most).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(format!("argument must be between {least} and {most} inclusive")),
        Err(_) => Err("argument must be a memory value".to_owned()),
    }
}

pub fn threshold(log: &CommandLog) -> String {
    log.threshold().to_string()
}

/// Negative for never.
pub fn set_threshold(log: &CommandLog, text: &str) -> Result<(), String> {
    number(text, -1, i64::MAX).map(|threshold| log.set_threshold(threshold))
}

pub fn log_len(log: &CommandLog) -> String {
    log.max_len().to_string()
}

pub fn set_log_len(log: &CommandLog, text: &str) -> Result<(), String> {
    number(text, 0, limits::SLOWLOG_LEN_MAX).map(|entries| log.set_max_len(entries))
}

pub fn set_percentiles(shared: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    let most = limits::PERCENTILES_MAX;
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().take(most + 1).map(str::parse).collect();
    let numbers = numbers.map_err(|_| "Invalid latency-tracking-info-percentiles parameters".to_owned())?;
    if numbers.len() > most {
        return Err(format!("latency-tracking-info-percentiles may have {most} numbers"));
    }
    if !numbers.iter().all(|percent| (0.0..=100.0).contains(percent)) {
        return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
    }
    shared.latency.set_percentiles(numbers);
    Ok(())
}

pub fn set_lfu(s: &Shared, shards: &mut AllShards, text: &str, set: fn(&mut LfuRules, u32)) -> Result<(), String> {
    let mut rules = *s.settings.lfu.lock();
    set(&mut rules, number(text, 0, limits::LFU_RULES_MAX)?);
    s.set_lfu(shards, rules);
    Ok(())
}
