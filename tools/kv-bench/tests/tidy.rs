//! Which module of kv-bench may import which: one ordered list, and every import goes down it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the top down. The commands stand in one row: none of them knows another.
const ORDER: [&[&str]; 12] = [
    &["lib", "main"],
    &["compare", "saturate", "replay", "simulate"],
    &["progress"],
    &["report"],
    &["options"],
    &["results"],
    &["engine"],
    &["plan"],
    &["traffic", "target", "trace", "policy"],
    &["protocol"],
    &["cpu", "memory", "evidence", "tls"],
    &["units"],
];

fn place(module: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&module))
}

/// Every source file with the top-level module that it belongs to.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let top = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let module = top.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string();
                found.push((path, module));
            }
        }
    }
    found
}

/// The top-level modules that a file names: `crate::a::b`, and `crate::{a, b::{c, d}}` over any number of lines.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut names = vec![];
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.extend(word(rest));
            continue;
        };
        let mut depth = 1;
        let mut beginning = true;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => beginning = true,
                letter if beginning && letter.is_alphabetic() => {
                    names.extend(word(&group[at..]));
                    beginning = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::{\n    a::{B, c},\n    d,\n};\nfn f() { crate::e::g() } // crate::h";
    assert_eq!(imports(text), ["a", "d", "e"]);
}

#[test]
fn imports_go_only_down() {
    let sources = sources();
    assert!(sources.len() > 30, "the sources are not where they were");
    let mut offences = vec![];
    for (path, module) in sources {
        let Some(own) = place(&module) else {
            offences.push(format!("{}: '{module}' has no place in the order", path.display()));
            continue;
        };
        for name in imports(&fs::read_to_string(&path).unwrap()) {
            if name != module && place(&name).is_none_or(|place| place <= own) {
                offences.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(offences.is_empty(), "a module imports what stands above or beside it:\n  {}", offences.join("\n  "));
}
