//! The tree keeps its own rules: who may know whom, what opens a file, how long it is, where `unsafe` stands, and that
//! tables in the documentation are those of the code.

use std::fs;
use std::path::{Path, PathBuf};

use kv_cache::command::{Command, Group, Table};

/// The folders of `src/` from the top down: each may import those after it and none before.
const LAYERS: [&str; 13] = [
    "server", "net", "protocol", "command", "shared", "acl", "script", "clients", "message", "observe", "store",
    "config", "base",
];

/// Folders that know less than the list above would let them: what they may import.
const NARROW: [(&str, &[&str]); 6] = [
    ("acl", &["config", "base"]),
    ("store", &["config", "base"]),
    ("script", &["message", "config", "base"]),
    ("message", &["config", "base"]),
    ("observe", &["config", "base"]),
    ("clients", &["message", "config", "base"]),
];

/// Code that is driven from outside: nothing in it waits, and it knows no socket.
const SANS_IO: [&str; 7] =
    ["protocol", "command", "script", "message", "store", "net/connection.rs", "net/outgoing.rs"];
const IO_WORDS: [&str; 11] = [
    "async",
    "await",
    "tokio",
    "tokio_uring",
    "io_uring",
    "socket2",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "SystemTime",
];

/// The modules that are written in `unsafe` because something asks for it; each says what.
const UNSAFE_FILES: [&str; 11] = [
    "src/base/allocator.rs",
    "src/net/readiness.rs",
    "src/net/multishot/buffers.rs",
    "src/net/multishot/ring.rs",
    "src/base/extents/mod.rs",
    "src/base/extents/filling.rs",
    "src/base/reserved.rs",
    "src/net/uring/ring.rs",
    "src/main.rs",
    "src/store/shard/prefetch.rs",
    "src/store/shard/space.rs",
];

/// What is longer has two subjects.
const LINES_MAX: usize = 500;

struct Source {
    /// From the root of the tree.
    path: String,
    text: String,
}

impl Source {
    /// The lines of code, numbered from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }

    fn is_in(&self, part: &str) -> bool {
        let rest = self.path.strip_prefix("src/").unwrap_or_default();
        rest == part || rest.strip_prefix(part).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the tree.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "lua", "tests", "tools", "benches"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(root()).unwrap().display().to_string(), text });
            }
        }
    }
    assert!(found.len() > 50, "the tree is not where it was");
    found
}

/// Fails with all offences at once.
fn report(offences: Vec<String>, rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The modules of the crate that a line names: `crate::a`, `crate::{a, b}`.
fn imports(line: &str) -> Vec<&str> {
    let after = line.match_indices("crate::").map(|(at, found)| &line[at + found.len()..]);
    after
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        })
        .filter_map(|path| words(path.trim()).next())
        .collect()
}

/// The module below `crate` that a line of `source` imports, if it lies in another top folder.
fn outward<'l>(source: &Source, line: &'l str) -> Vec<&'l str> {
    imports(line).into_iter().filter(|name| !source.is_in(name)).collect()
}

#[test]
fn arrows_go_only_down() {
    let mut offences = Vec::new();
    let sources = sources();
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
        let folder = source.path["src/".len()..].split('/').next().unwrap_or_default();
        if ["lib.rs", "main.rs"].contains(&folder) {
            continue;
        }
        let Some(own) = place(folder) else {
            offences.push(format!("{}: the list of layers does not know its folder", source.path));
            continue;
        };
        let narrow = NARROW.iter().find(|(name, _)| *name == folder);
        for (number, line) in source.code() {
            for name in outward(source, line) {
                let is_below = place(name).is_some_and(|place| place > own);
                if !is_below || narrow.is_some_and(|(_, allowed)| !allowed.contains(&name)) {
                    offences.push(format!("{}:{number}: {name}", source.path));
                }
            }
        }
    }
    for layer in LAYERS {
        assert!(sources.iter().any(|source| source.is_in(layer)), "src/{layer} is not there any more");
    }
    report(offences, "a folder imports what it must not know");
}

#[test]
fn sessions_commands_and_shards_know_no_socket() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| SANS_IO.iter().any(|part| source.is_in(part))) {
        for (number, line) in source.code() {
            if let Some(word) = words(line).find(|word| IO_WORDS.contains(word)) {
                offences.push(format!("{}:{number}: {word}", source.path));
            }
            if line.contains("std::net") {
                offences.push(format!("{}:{number}: std::net", source.path));
            }
        }
    }
    report(offences, "code that is driven from outside waits or knows a socket");
}

#[test]
fn drivers_know_protocols_by_their_front_alone() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.is_in("net")) {
        for (number, line) in source.code().filter(|(_, line)| line.contains("protocol::")) {
            if !line.contains("protocol::front") && !line.contains("protocol::core") {
                offences.push(format!("{}:{number}", source.path));
            }
        }
    }
    report(offences, "net/ knows a protocol");
}

#[test]
fn kv_bench_is_a_stranger_to_the_server() {
    let sources = sources();
    let offences: Vec<_> = sources
        .iter()
        .filter(|source| {
            source.path.starts_with("tools/") && source.code().any(|(_, line)| line.contains("kv_cache::"))
        })
        .map(|source| source.path.clone())
        .collect();
    report(offences, "kv-bench measures every server alike, and imports none");
}

#[test]
fn every_file_opens_with_what_it_is() {
    let offences = sources()
        .iter()
        .filter(|source| {
            let opening: String = source.text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
            !opening.contains(['.', ':'])
        })
        .map(|source| source.path.clone())
        .collect();
    report(offences, "a file must open with a `//!` sentence");
}

#[test]
fn files_are_read_in_one_sitting() {
    let sources = sources();
    let lengths = sources.iter().map(|source| (source.text.lines().count(), &source.path));
    let offences = lengths.filter(|(lines, _)| *lines > LINES_MAX).map(|(lines, path)| format!("{path}: {lines}"));
    report(offences.collect(), "a file is too long");
}

#[test]
fn unsafe_is_rare_and_justified() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            if !words(line).any(|word| word == "unsafe") {
                continue;
            }
            if !UNSAFE_FILES.contains(&source.path.as_str()) {
                offences.push(format!("{}:{number}: not a module for it", source.path));
            }
            // The comment above, over as many lines as it has, and past an attribute or the statement's beginning.
            let above = lines[..number - 1].iter().rev().take(8).map(|line| line.trim());
            if !above.take_while(|line| !line.is_empty()).any(|line| line.starts_with("// SAFETY:")) {
                offences.push(format!("{}:{number}: no // SAFETY: above it", source.path));
            }
        }
    }
    report(offences, "unsafe");
}

#[test]
fn tests_wait_for_conditions() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("tests/it/")) {
        if source.path != "tests/it/harness.rs" && source.code().any(|(_, line)| line.contains("sleep(")) {
            offences.push(source.path.clone());
        }
    }
    report(offences, "a test sleeps; wait_until waits");
}

#[test]
fn every_test_file_is_in_the_index() {
    let index = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    let names = sources();
    let names = names.iter().filter_map(|source| source.path.strip_prefix("tests/it/")?.strip_suffix(".rs"));
    let tools = ["main", "harness", "client", "wire"];
    let offences = names
        .filter(|name| !tools.contains(name) && !index.contains(&format!("`{name}`")))
        .map(str::to_owned)
        .collect();
    report(offences, "tests/it/main.rs does not say what belongs into");
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut offences = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains(" = ") && !line.contains(" # ") {
            offences.push(line.to_owned());
        }
    }
    report(offences, "a dependency without its reason");
}

/// Nothing of the machine it was made on belongs into the tree.
#[test]
fn the_tree_speaks_of_itself_alone() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (index, line) in source.text.lines().enumerate() {
            if ["/work/", "/home/", "/root/"].iter().any(|path| line.contains(path)) {
                offences.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    report(offences, "a path of somebody's machine");
}

/// The commands as the README shows them, from the rows.
fn command_table() -> String {
    let mut table = String::new();
    let groups = [
        Group::String,
        Group::Bitmap,
        Group::Generic,
        Group::Transactions,
        Group::Scripting,
        Group::Connection,
        Group::PubSub,
        Group::Server,
        Group::Cluster,
    ];
    for group in groups {
        let mut name = group.name().to_owned();
        name[..1].make_ascii_uppercase();
        table.push_str(&format!("\n**{name}**\n\n| command | what it does |\n|---|---|\n"));
        let mut rows: Vec<_> = Table::get().rows().iter().filter(|row| row.group == group).collect();
        rows.sort_by_key(|row| row.name);
        for row in rows {
            push_row(&mut table, "", row);
        }
    }
    table.push('\n');
    table
}

fn push_row(table: &mut String, container: &str, row: &Command) {
    let name = format!("{container}{}", row.name.to_ascii_uppercase());
    if row.subcommands.is_empty() || !row.syntax.is_empty() {
        let usage = format!("{name} {}", row.syntax);
        table.push_str(&format!("| `{}` | {} |\n", usage.trim_end().replace('|', "\\|"), row.summary));
    }
    for sub in row.subcommands {
        push_row(table, &format!("{name} "), sub);
    }
}

/// The options as the README shows them, from their declaration.
fn option_table() -> String {
    let mut table = "\n| option | default | what it does |\n|---|---|---|\n".to_owned();
    let command = kv_cache::config::command();
    for option in command.get_arguments().filter(|option| option.get_env().is_some() || option.get_id() == "check") {
        let defaults: Vec<_> = option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if option.get_env().is_some() { defaults.join(",") } else { String::new() };
        let help = option.get_help().map(|help| help.to_string()).unwrap_or_default().replace('|', "\\|");
        let long = option.get_long().expect("every option has a long name");
        table.push_str(&format!("| `--{long}` | {default} | {help} |\n"));
    }
    table.push('\n');
    table
}

/// The configuration file of the packages: every option, commented out, as it is by default.
fn configuration() -> String {
    let mut text = "# The options of kv-cache, each as it is by default. systemctl reload kv-cache applies what can change at run\n\
         # time; the journal says what takes a restart. kv-cache --check --config FILE shows what a file comes to.\n"
        .to_owned();
    let command = kv_cache::config::command();
    for option in command.get_arguments().filter(|option| option.get_env().is_some() && option.get_id() != "config") {
        let long = option.get_long().expect("every option has a long name");
        let help = option.get_help().map(|help| help.to_string()).unwrap_or_default();
        let defaults: Vec<_> = option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let value = match defaults.join(",") {
            number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => number,
            text => format!("\"{text}\""),
        };
        text.push_str(&format!("\n# {help}\n#{long} = {value}\n"));
    }
    text
}

#[test]
fn the_packages_configuration_file_has_every_option() {
    let path = root().join("systemd/kv-cache.toml");
    let wanted = configuration();
    if fs::read_to_string(&path).is_ok_and(|text| text == wanted) {
        return;
    }
    assert!(std::env::var_os("UPDATE").is_some(), "systemd/kv-cache.toml is old: UPDATE=1 cargo test --test tidy");
    fs::write(&path, wanted).unwrap();
}

#[test]
fn the_image_is_labelled_with_the_crates_version() {
    let dockerfile = fs::read_to_string(root().join("docker/Dockerfile")).unwrap();
    assert!(dockerfile.contains(&format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"))), "docker/Dockerfile");
}

#[test]
fn readme_tables() {
    let path = root().join("README.md");
    let mut readme = fs::read_to_string(&path).unwrap();
    let mut is_old = false;
    for (name, wanted) in [("options", option_table()), ("commands", command_table())] {
        let begin = format!("<!-- {name}: UPDATE=1 cargo test --test tidy writes this table -->\n");
        let end = format!("<!-- /{name} -->");
        let (before, rest) = readme.split_once(&begin).expect("the README has the marker before the table");
        let (table, after) = rest.split_once(&end).expect("the README has the marker after the table");
        is_old |= table != wanted;
        readme = format!("{before}{begin}{wanted}{end}{after}");
    }
    if is_old {
        assert!(std::env::var_os("UPDATE").is_some(), "the README's tables are old: UPDATE=1 cargo test --test tidy");
        fs::write(&path, readme).unwrap();
    }
}
