//! CONFIG REWRITE: puts options into the TOML file that the server was started with. Comments and order stay, and the file
//! is replaced as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use toml_edit::{DocumentMut, Item, Value};

/// Sets options of the file, by their long names; `None` takes one out.
///
/// # Errors
/// The file cannot be read or is no TOML any more, or its directory cannot be written to.
pub fn rewrite(path: &Path, changes: &[(&str, Option<String>)]) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    let text = changed(&text, changes).map_err(io::Error::other)?;
    replace(path, text.as_bytes())
}

/// Replaces a file as a whole, or not at all. Who may read it stays as it was.
///
/// # Errors
/// There is no such file, or its directory cannot be written to.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays one: what it names is replaced.
    let path = fs::canonicalize(path)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let beside = path.with_file_name(name);
    let written = write_beside(&beside, bytes, fs::metadata(&path)?.permissions());
    written.and_then(|()| fs::rename(&beside, &path)).inspect_err(|_| drop(fs::remove_file(&beside)))
}

fn write_beside(path: &Path, bytes: &[u8], permissions: fs::Permissions) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(permissions)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn changed(text: &str, changes: &[(&str, Option<String>)]) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    for (name, value) in changes {
        let written = document.iter().map(|(key, _)| key.to_owned()).find(|key| key.replace('_', "-") == *name);
        let key = written.unwrap_or_else(|| (*name).to_owned());
        match (value, document.get_mut(&key).and_then(Item::as_value_mut)) {
            (None, _) => drop(document.remove(&key)),
            (Some(text), Some(old)) => {
                let decor = old.decor().clone();
                *old = toml_value(text);
                *old.decor_mut() = decor;
            }
            (Some(text), None) => drop(document.insert(&key, Item::Value(toml_value(text)))),
        }
    }
    Ok(document.to_string())
}

/// Numbers as such, everything else as text.
fn toml_value(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_as_it_was() {
        let before = "# The cache.\nmax_value = \"1mb\" # small\n\ntimeout = 3\nlog-level = \"info\"\n# The end.\n";
        let changes = [
            ("max-value", Some("2mb".to_owned())),
            ("timeout", None),
            ("maxclients", Some("99".to_owned())),
            ("requirepass", Some("a \"b\"".to_owned())),
        ];
        let after = changed(before, &changes).unwrap();
        assert!(after.starts_with("# The cache.\nmax_value = \"2mb\" # small\n"), "{after}");
        assert!(after.contains("log-level = \"info\"\n") && after.contains("# The end.\n"), "{after}");
        assert!(after.contains("maxclients = 99\n") && !after.contains("timeout"), "{after}");
        let read: DocumentMut = after.parse().unwrap();
        assert_eq!(read["requirepass"].as_str(), Some("a \"b\""));
        assert!(changed("timeout = = 1", &changes).is_err());
    }
}
