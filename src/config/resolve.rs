//! From where an option's value comes: flags > `KV_CACHE_*` > `--config FILE` > default. Whatever does not do is refused in
//! one line that names the place where it was written.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};
use toml_edit::{Document, Item, Value};

use super::StartError;
use super::options::{Options, command};
use super::origin::{Origin, Resolved, Setting};

/// What the command line asks for.
pub enum Request {
    Run(Box<Resolved>),
    /// `--help`, `--version`: print this and exit 0.
    Print(String),
}

/// One option as the environment or the file gives it.
struct Given {
    name: String,
    text: OsString,
    origin: Origin,
}

impl Given {
    fn flag(&self) -> OsString {
        let mut flag = OsString::from(format!("--{}=", self.name));
        flag.push(&self.text);
        flag
    }

    /// Refuses a value that does not do, by the place where it was written.
    fn check(&self) -> Result<(), StartError> {
        let Err(error) = bare().try_get_matches_from([OsStr::new("kv-cache"), &self.flag()]) else { return Ok(()) };
        let place = self.origin.place(&self.name, &self.text.to_string_lossy());
        Err(StartError::option(format!("{place}: {}", reason(&error))))
    }
}

/// Resolves the options from a command line (program name first) and the process's environment.
///
/// # Errors
/// One line that says what was written where, and why it does not do.
pub fn resolve(args: impl IntoIterator<Item = OsString>) -> Result<Request, StartError> {
    resolve_with(args.into_iter().collect(), std::env::vars_os())
}

fn resolve_with(
    args: Vec<OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Request, StartError> {
    let given = match bare().try_get_matches_from(&args) {
        Ok(given) => given,
        Err(error) if !error.use_stderr() => return Ok(Request::Print(printed(&args, error))),
        Err(error) => return Err(flag_error(&error)),
    };
    let (variables, notes) = variables(environment);
    let mut layers: Vec<Given> = Vec::new();
    take(&mut layers, variables, &given);
    // The file may itself be named by the environment.
    let named = layers.iter().find(|layer| layer.name == "config").map(|layer| PathBuf::from(&layer.text));
    if let Some(path) = given.get_one::<PathBuf>("config").cloned().or(named) {
        take(&mut layers, read_file(&path)?, &given);
    }
    for layer in &layers {
        layer.check()?;
    }
    let mut all: Vec<OsString> = args.iter().take(1).cloned().collect();
    all.extend(layers.iter().map(Given::flag));
    all.extend(args.into_iter().skip(1));
    let merged = bare().try_get_matches_from(&all).map_err(|error| flag_error(&error))?;
    let options = Options::from_arg_matches(&merged).map_err(|error| flag_error(&error))?;
    let settings = settings(&merged, &given, &layers);
    Ok(Request::Run(Box::new(Resolved { options, settings, notes })))
}

/// Adds what no layer above gives. The two ways to give a password are one setting.
fn take(layers: &mut Vec<Given>, lower: Vec<Given>, flags: &ArgMatches) {
    let is_password = |name: &str| name.starts_with("requirepass");
    let above: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    let is_given = |name: &str| is_flag(flags, &name.replace('-', "_")) || above.iter().any(|above| above == name);
    let password_is_given = ["requirepass", "requirepass-file"].into_iter().any(is_given);
    layers.extend(
        lower.into_iter().filter(
            |given| {
                if is_password(&given.name) { !password_is_given } else { !is_given(&given.name) }
            },
        ),
    );
}

fn is_flag(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// The command line by itself: the environment is a layer of its own, so that an error can name it.
fn bare() -> Command {
    // What stands last on the command line wins, as in every Unix tool; and -1 is a number, not a flag.
    command()
        .args_override_self(true)
        .mut_args(|arg| arg.env(Resettable::Reset))
        .mut_args(|arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg })
}

/// Help, with the variables' names in it, or the version.
fn printed(args: &[OsString], error: clap::Error) -> String {
    let named = command().mut_args(|arg| arg.hide_env_values(true));
    let text = named.try_get_matches_from(args).err().filter(|other| other.kind() == error.kind()).unwrap_or(error);
    let text = text.render();
    if std::io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() }
}

fn is_setting(arg: &clap::Arg) -> bool {
    !matches!(arg.get_id().as_str(), "check" | "help" | "version")
}

/// The option of a flag's name, if a variable or a file may give it.
fn setting_called(name: &str) -> bool {
    command().get_arguments().any(|arg| arg.get_long() == Some(name) && is_setting(arg))
}

/// The name that was probably meant.
fn suggestion(name: &str) -> Option<String> {
    let error = bare().try_get_matches_from(["kv-cache".to_owned(), format!("--{name}=x")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()).filter(|name| setting_called(name)),
        _ => None,
    }
}

const PREFIX: &str = "KV_CACHE_";

fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('-', "_").to_ascii_uppercase())
}

/// What the environment says, and notes on what of it was ignored.
fn variables(environment: impl Iterator<Item = (OsString, OsString)>) -> (Vec<Given>, Vec<String>) {
    let (mut found, mut notes, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for (variable, text) in environment {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if is_service_link(&variable[PREFIX.len()..], &text.to_string_lossy()) {
            links.push(variable.to_owned());
            continue;
        }
        let name = variable[PREFIX.len()..].replace('_', "-").to_ascii_lowercase();
        if setting_called(&name) && variable_of(&name) == variable {
            found.push(Given { name, text, origin: Origin::Variable(variable.to_owned()) });
        } else {
            let meant =
                suggestion(&name).map_or(String::new(), |name| format!("; did you mean {}?", variable_of(&name)));
            notes.push(format!("{variable} is no option's variable: ignored{meant}"));
        }
    }
    if !links.is_empty() {
        links.sort();
        notes.push(format!(
            "{} {} what Kubernetes tells of a Service, not an option: ignored (enableServiceLinks: false keeps it away)",
            links.join(", "),
            if links.len() == 1 { "is" } else { "are" }
        ));
    }
    (found, notes)
}

/// For a Service `kv-cache` Kubernetes gives every pod KV_CACHE_SERVICE_HOST, KV_CACHE_PORT=tcp://10.96.0.17:7171,
/// KV_CACHE_PORT_7171_TCP_ADDR and more; for `kv-cache-metrics` the same with METRICS_ before.
fn is_service_link(rest: &str, text: &str) -> bool {
    let numbered = rest.split("PORT_").skip(1).any(|after| after.starts_with(|first: char| first.is_ascii_digit()));
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    rest.contains("SERVICE_HOST") || rest.contains("SERVICE_PORT") || numbered || is_address && rest.ends_with("PORT")
}

/// The options of a TOML file.
fn read_file(path: &Path) -> Result<Vec<Given>, StartError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| StartError::option(format!("cannot read the configuration file {shown}: {error}")))?;
    let place = |at: usize| {
        let before = &text[..at.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    };
    let document: Document<&str> = Document::parse(text.as_str()).map_err(|error| {
        let (line, column) = place(error.span().map_or(0, |span| span.start));
        StartError::option(format!("{shown}:{line}:{column}: {}", error.message().replace('\n', ", ")))
    })?;
    let mut found: Vec<Given> = Vec::new();
    for (key, item) in document.iter() {
        let at = document.key(key).and_then(|key| key.span()).map_or(0, |span| span.start);
        let (line, column) = place(at);
        let refuse = |why: String| Err(StartError::option(format!("{shown}:{line}:{column}: {why}")));
        let name = key.replace('_', "-");
        if !setting_called(&name) || name == "config" {
            let meant = suggestion(&name)
                .map_or("kv-cache --help lists them".to_owned(), |name| format!("did you mean {name}?"));
            return refuse(format!("'{key}' is no option; {meant}"));
        }
        if found.iter().any(|given| given.name == name) {
            return refuse(format!("'{key}' stands there twice"));
        }
        let Some(text) = item_text(item) else {
            return refuse(format!("'{key}' must be text, a number or a list of those"));
        };
        found.push(Given { name, text: text.into(), origin: Origin::File { path: path.to_owned(), line, column } });
    }
    Ok(found)
}

fn item_text(item: &Item) -> Option<String> {
    value_text(item.as_value()?)
}

/// As a flag would have it.
fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(on) => Some(on.value().to_string()),
        Value::Array(items) => Some(items.iter().map(value_text).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

fn settings(merged: &ArgMatches, flags: &ArgMatches, layers: &[Given]) -> Vec<Setting> {
    let command = command();
    let settings = command.get_arguments().filter(|arg| is_setting(arg) && arg.get_id() != "config");
    settings
        .map(|arg| {
            let id = arg.get_id().as_str();
            let name = arg.get_long().unwrap_or(id).to_owned();
            let layer = layers.iter().find(|layer| layer.name == name);
            let origin = match layer {
                _ if is_flag(flags, id) => Origin::Flag,
                Some(layer) => layer.origin.clone(),
                None => Origin::Default,
            };
            let raw = merged.get_raw(id);
            let text = raw.map_or(String::new(), |values| {
                values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")
            });
            let text = if name == "requirepass" && !text.is_empty() { "(hidden)".to_owned() } else { text };
            Setting { name, text, origin }
        })
        .collect()
}

/// Why a value does not do, without the words around it.
fn reason(error: &clap::Error) -> String {
    let names = |kind| match error.get(kind) {
        Some(ContextValue::Strings(names)) => names.join(", "),
        Some(ContextValue::String(name)) => name.clone(),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::InvalidValue => {
            let possible = names(ContextKind::ValidValue);
            if possible.is_empty() { "a value is missing".to_owned() } else { format!("possible values: {possible}") }
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            match source.as_str() {
                "invalid digit found in string" | "cannot parse integer from empty string" => {
                    "not a whole number".to_owned()
                }
                "number too large to fit in target type" => "too large a number".to_owned(),
                _ => source,
            }
        }
        _ => one_line(error),
    }
}

/// What is wrong with the flags, in one line.
fn flag_error(error: &clap::Error) -> StartError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let flag = text(ContextKind::InvalidArg).split(' ').next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if flag.starts_with("--") => {
            format!("{flag} {}: {}", text(ContextKind::InvalidValue), reason(error))
        }
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument
            if [text(ContextKind::InvalidSubcommand), text(ContextKind::InvalidArg)]
                .iter()
                .any(|word| is_path(word)) =>
        {
            let path = [text(ContextKind::InvalidSubcommand), text(ContextKind::InvalidArg)].concat();
            format!("{path}: a file of options is given by --config {path}, and is in TOML: maxmemory = \"1.4gb\"")
        }
        _ => one_line(error),
    };
    StartError::option(message)
}

fn is_path(word: &str) -> bool {
    !word.starts_with('-') && (word.contains(['.', '/']) || Path::new(word).is_file())
}

/// Without the usage text around it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let kept = lines.iter().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let line = kept.copied().collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `environment` as `NAME=value` words.
    fn options_in(environment: &[&str], args: &[&str]) -> Result<Resolved, String> {
        let args = std::iter::once("kv-cache").chain(args.iter().copied()).map(OsString::from);
        let environment = environment.iter().map(|pair| pair.split_once('=').unwrap());
        match resolve_with(args.collect(), environment.map(|(name, text)| (name.into(), text.into()))) {
            Ok(Request::Run(resolved)) => Ok(*resolved),
            Ok(Request::Print(text)) => Err(text),
            Err(error) => Err(error.message),
        }
    }

    fn setting(resolved: &Resolved, name: &str) -> (String, String) {
        let found = resolved.settings.iter().find(|setting| setting.name == name).expect(name);
        (found.text.clone(), found.origin.to_string())
    }

    #[test]
    fn the_declaration_is_sound() {
        command().debug_assert();
        for arg in command().get_arguments().filter(|arg| is_setting(arg)) {
            let variable = variable_of(arg.get_long().unwrap());
            assert_eq!(arg.get_env().unwrap().to_str(), Some(variable.as_str()));
        }
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let path = std::env::temp_dir().join(format!("kv-cache-config-{}.toml", std::process::id()));
        std::fs::write(&path, "port = 7000\n\ntimeout = 1\nmaxmemory = \"1.4gb\"\nbind = [\"127.0.0.1\", \"::1\"]\n")
            .unwrap();
        let file = format!("KV_CACHE_CONFIG={}", path.display());
        let resolved = options_in(&[&file, "KV_CACHE_TIMEOUT=2"], &["--port", "7001"]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((resolved.options.port, resolved.options.timeout, resolved.options.bind.len()), (7001, 2, 2));
        assert_eq!(setting(&resolved, "port"), ("7001".into(), "flag".into()));
        assert_eq!(setting(&resolved, "timeout"), ("2".into(), "KV_CACHE_TIMEOUT".into()));
        assert_eq!(setting(&resolved, "maxmemory"), ("1.4gb".into(), format!("{}:4", path.display())));
        assert_eq!(setting(&resolved, "tcp-keepalive"), ("300".into(), "default".into()));
    }

    #[test]
    fn a_bad_value_is_one_line_that_names_where_it_was_written() {
        for (args, expect) in [
            (vec!["--port", "70000"], "--port 70000: 70000 is not in 0..=65535"),
            (vec!["--port", "-1"], "--port -1: -1 is not in 0..=65535"),
            (vec!["--port", "x"], "--port x: not a whole number"),
            (
                vec!["--maxmemory", "lots"],
                "--maxmemory lots: 'lots' is not an amount of memory; write it as 1400mb, 1.4gb or 70%",
            ),
            (
                vec!["--maxmemory-policy", "allkeys-fifo"],
                "--maxmemory-policy allkeys-fifo: possible values: allkeys-lru, ",
            ),
            (vec!["--engine", "kqueue"], "--engine kqueue: possible values: auto, multishot, uring, epoll"),
            (vec!["--prot", "1"], "--port"),
            (vec!["--unixsocketperm", "999"], "octal"),
            (vec!["--bind", "localhost"], "--bind localhost: names are not looked up; this one is 127.0.0.1"),
            (vec!["--bind", "*"], "0.0.0.0"),
            (vec!["--requirepass", ""], "an empty password would let everybody in"),
            (vec!["--requirepass="], "an empty password would let everybody in"),
            (vec!["some.conf"], "some.conf: a file of options is given by --config some.conf, and is in TOML"),
            (vec!["--config", "/nonexistent/file"], "cannot read the configuration file"),
        ] {
            let message = options_in(&[], &args).unwrap_err();
            assert!(message.contains(expect), "{args:?}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
        for (variable, expect) in [
            ("KV_CACHE_PORT=70000", "KV_CACHE_PORT=70000: 70000 is not in 0..=65535"),
            ("KV_CACHE_ENGINE=kqueue", "KV_CACHE_ENGINE=kqueue: possible values: auto, multishot, uring, epoll"),
            ("KV_CACHE_REQUIREPASS=", "KV_CACHE_REQUIREPASS='': an empty password"),
        ] {
            let message = options_in(&[variable], &[]).unwrap_err();
            assert!(message.starts_with(expect), "{variable}: {message}");
            // What a flag gives beats it, right or wrong.
            assert!(options_in(&[variable], &["--port=1", "--engine=auto", "--requirepass=x"]).is_ok(), "{variable}");
        }
    }

    #[test]
    fn what_kubernetes_sets_is_no_option() {
        let resolved = options_in(
            &[
                "KV_CACHE_PORT=tcp://10.96.0.17:7171",
                "KV_CACHE_SERVICE_HOST=10.96.0.17",
                "KV_CACHE_SERVICE_PORT_RESP=7171",
                "KV_CACHE_PORT_7171_TCP_ADDR=10.96.0.17",
                "KV_CACHE_METRICS_PORT=tcp://10.96.0.18:9121",
                "KV_CACHE_TIMEOUT=5",
            ],
            &[],
        );
        let resolved = resolved.unwrap();
        assert_eq!((resolved.options.port, resolved.options.timeout), (7171, 5));
        assert_eq!(resolved.notes.len(), 1, "{:?}", resolved.notes);
        assert!(resolved.notes[0].contains("enableServiceLinks: false"), "{:?}", resolved.notes);
    }

    #[test]
    fn a_variable_that_nobody_reads_is_told_of() {
        let notes = options_in(&["KV_CACHE_MAXMEMROY=1gb", "KV_CACHE_QQQZZZ=1", "KVCACHE=1"], &[]).unwrap().notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("KV_CACHE_MAXMEMROY") && notes[0].ends_with("did you mean KV_CACHE_MAXMEMORY?"));
        assert_eq!(notes[1], "KV_CACHE_QQQZZZ is no option's variable: ignored");
    }

    #[test]
    fn a_password_is_never_listed() {
        let resolved = options_in(&["KV_CACHE_REQUIREPASS_FILE=/nonexistent"], &["--requirepass", "secret"]).unwrap();
        assert_eq!(setting(&resolved, "requirepass").0, "(hidden)");
        assert_eq!(resolved.options.password().unwrap().as_deref(), Some("secret"));
    }
}
