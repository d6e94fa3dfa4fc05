//! The log: lines in one of three forms, to standard error or a file, its level, form and file changeable while the server
//! runs. Whatever a client can put into a line is escaped, and what clients can bring about at will is rare.

use std::fmt::{self, Debug, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::base::clock;
use crate::config::{LogFormat, LogLevel, StartError, limits};

/// There is one for the process, as there is one `tracing` dispatcher.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    level: AtomicU8,
    format: AtomicU8,
    sink: Mutex<Sink>,
}

/// Where the lines go.
struct Sink {
    /// Standard error when there is none.
    file: Option<(PathBuf, File)>,
    has_colours: bool,
}

impl Sink {
    fn to(path: Option<&Path>) -> io::Result<Sink> {
        let file = match path {
            Some(path) => Some((path.to_owned(), File::options().append(true).create(true).open(path)?)),
            None => None,
        };
        let has_colours = file.is_none() && io::stderr().is_terminal();
        Ok(Sink { file, has_colours })
    }
}

/// Begins to log. The first call decides where to.
///
/// # Errors
/// The file cannot be opened.
pub fn begin(level: LogLevel, format: LogFormat, path: Option<&Path>) -> Result<(), StartError> {
    let sink = Sink::to(path).map_err(|error| refused(path, error))?;
    let log = Log { level: AtomicU8::new(level as u8), format: AtomicU8::new(format as u8), sink: Mutex::new(sink) };
    if LOG.set(log).is_ok() {
        // It fails only when there is a log already.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(Lines));
    }
    Ok(())
}

fn refused(path: Option<&Path>, error: io::Error) -> StartError {
    let shown = path.map_or(String::new(), |path| path.display().to_string());
    StartError::option(format!("--log-file {shown}: {error}"))
}

/// Whether `begin` could open the file, as far as can be told without making it.
///
/// # Errors
/// It could not.
pub fn try_file(path: Option<&Path>) -> Result<(), StartError> {
    let Some(file) = path else { return Ok(()) };
    let tried = if file.exists() {
        File::options().append(true).open(file).map(drop)
    } else {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
        folder.read_dir().map(drop)
    };
    tried.map_err(|error| refused(path, error))
}

pub fn level() -> LogLevel {
    LOG.get().map_or(LogLevel::Info, |log| match log.level.load(Relaxed) {
        0 => LogLevel::Error,
        1 => LogLevel::Warn,
        2 => LogLevel::Info,
        _ => LogLevel::Debug,
    })
}

pub fn set_level(level: LogLevel) {
    if let Some(log) = LOG.get() {
        log.level.store(level as u8, Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }
}

pub fn format() -> LogFormat {
    LOG.get().map_or(LogFormat::Text, |log| match log.format.load(Relaxed) {
        0 => LogFormat::Text,
        1 => LogFormat::Logfmt,
        _ => LogFormat::Json,
    })
}

pub fn set_format(format: LogFormat) {
    if let Some(log) = LOG.get() {
        log.format.store(format as u8, Relaxed);
    }
}

/// The file that is written to; `None` for standard error.
pub fn file() -> Option<PathBuf> {
    LOG.get()?.sink.lock().file.as_ref().map(|(path, _)| path.clone())
}

/// Goes on in another file, or on standard error.
pub fn set_file(path: Option<&Path>) -> io::Result<()> {
    let sink = Sink::to(path)?;
    if let Some(log) = LOG.get() {
        *log.sink.lock() = sink;
    }
    Ok(())
}

/// Opens the file anew: who rotates logs has renamed it.
pub fn reopen() -> io::Result<()> {
    match file() {
        Some(path) => set_file(Some(&path)),
        None => Ok(()),
    }
}

/// What clients can bring about as often as they like: so many lines of a kind in a while, then one that says how many
/// there were.
pub struct Sparse {
    /// The beginning of the while, in milliseconds.
    since: AtomicU64,
    lines: AtomicU64,
}

/// AUTH with a wrong name or password.
pub static WRONG_PASSWORDS: Sparse = Sparse::new();
/// Bytes that are no requests.
pub static PROTOCOL_ERRORS: Sparse = Sparse::new();
/// Connections that were refused.
pub static REFUSALS: Sparse = Sparse::new();

impl Sparse {
    pub const fn new() -> Sparse {
        Sparse { since: AtomicU64::new(0), lines: AtomicU64::new(0) }
    }

    /// Logs a warning, unless there were too many of late.
    pub fn warn(&self, text: impl FnOnce() -> String) {
        let now = clock::now();
        let since = self.since.load(Relaxed);
        let mut left_out = 0;
        if now.saturating_sub(since) >= limits::LOG_SPARSE_MS
            && self.since.compare_exchange(since, now, Relaxed, Relaxed).is_ok()
        {
            left_out = self.lines.swap(0, Relaxed).saturating_sub(limits::LOG_SPARSE_LINES);
        }
        if self.lines.fetch_add(1, Relaxed) < limits::LOG_SPARSE_LINES {
            match left_out {
                0 => tracing::warn!("{}", text()),
                _ => tracing::warn!("{} ({left_out} more like it were not logged)", text()),
            }
        }
    }
}

impl Default for Sparse {
    fn default() -> Sparse {
        Sparse::new()
    }
}

/// The layer that makes lines of events.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= filter()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(log) = LOG.get() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut sink = log.sink.lock();
        let line = line(format(), *event.metadata().level(), &fields, sink.has_colours);
        // There is nobody to tell that the log cannot be written.
        let _ = match &mut sink.file {
            Some((_, file)) => file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn filter() -> LevelFilter {
    match level() {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

/// What an event says: its message, and its fields as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.others.push((name, value.to_owned())),
        }
    }
}

fn line(format: LogFormat, level: Level, fields: &Fields, has_colours: bool) -> String {
    let mut time = String::new();
    // Writing to a string never fails.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let mut line = String::new();
    let written = match format {
        LogFormat::Text => text(&mut line, &time, level, fields, has_colours),
        LogFormat::Logfmt => logfmt(&mut line, &time, level, fields),
        LogFormat::Json => json(&mut line, &time, level, fields),
    };
    written.expect("writing to a string");
    line.push('\n');
    line
}

fn text(line: &mut String, time: &str, level: Level, fields: &Fields, has_colours: bool) -> fmt::Result {
    match (has_colours, level) {
        (false, _) => write!(line, "{time} {level:>5} ")?,
        (true, Level::ERROR) => write!(line, "\x1b[2m{time}\x1b[0m \x1b[31m{level:>5}\x1b[0m ")?,
        (true, Level::WARN) => write!(line, "\x1b[2m{time}\x1b[0m \x1b[33m{level:>5}\x1b[0m ")?,
        (true, _) => write!(line, "\x1b[2m{time}\x1b[0m \x1b[32m{level:>5}\x1b[0m ")?,
    }
    push_escaped(line, &fields.message);
    for (name, value) in &fields.others {
        write!(line, " {name}=")?;
        push_escaped(line, value);
    }
    Ok(())
}

/// `time=... level=... msg="..."`.
fn logfmt(line: &mut String, time: &str, level: Level, fields: &Fields) -> fmt::Result {
    write!(line, "time={time} level={} msg=", level.as_str().to_ascii_lowercase())?;
    push_quoted(line, &fields.message);
    for (name, value) in &fields.others {
        write!(line, " {name}=")?;
        if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=')) {
            push_quoted(line, value);
        } else {
            line.push_str(value);
        }
    }
    Ok(())
}

/// One JSON object.
fn json(line: &mut String, time: &str, level: Level, fields: &Fields) -> fmt::Result {
    write!(line, "{{\"time\":\"{time}\",\"level\":\"{}\",\"message\":", level.as_str().to_ascii_lowercase())?;
    push_quoted(line, &fields.message);
    for (name, value) in &fields.others {
        write!(line, ",\"{name}\":")?;
        push_quoted(line, value);
    }
    line.push('}');
    Ok(())
}

/// No text can begin a line of its own or steer a terminal.
fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if is_steering(c) => write!(line, "\\u{:04x}", c as u32).expect("writing to a string"),
            c => line.push(c),
        }
    }
}

/// As JSON has strings, which logfmt's readers understand too.
fn push_quoted(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c => push_escaped(line, c.encode_utf8(&mut [0; 4])),
        }
    }
    line.push('"');
}

/// Control characters, and what changes the direction of text.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_line() {
        let fields = Fields {
            message: "one\r\n2026-01-01 WARN forged \u{1b}[2J \"x\" \\".to_owned(),
            others: vec![("client", "7".to_owned()), ("name", "a b\n".to_owned())],
        };
        let made = |format| {
            let line = line(format, Level::WARN, &fields, false);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.contains('\u{1b}'), "{line}");
            line.trim_end().split_once("WARN ").unwrap().1.to_owned()
        };
        assert_eq!(made(LogFormat::Text), "one\\r\\n2026-01-01 WARN forged \\u001b[2J \"x\" \\ client=7 name=a b\\n");
        let quoted = "\"one\\r\\n2026-01-01 WARN forged \\u001b[2J \\\"x\\\" \\\\\"";
        let logfmt = line(LogFormat::Logfmt, Level::WARN, &fields, false);
        assert!(logfmt.ends_with(&format!(" level=warn msg={quoted} client=7 name=\"a b\\n\"\n")), "{logfmt}");
        let json = line(LogFormat::Json, Level::WARN, &fields, false);
        assert!(json.ends_with(&format!("\"message\":{quoted},\"client\":\"7\",\"name\":\"a b\\n\"}}\n")), "{json}");
    }
}
