//! Compiles Lua 5.1.5 from the sources that the crate `lua-src` carries, with the edits of `src/edits.rs` made to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/edits.rs"]
mod edits;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/edits.rs");
    println!("cargo:rerun-if-env-changed=KV_LUA_SANITIZE");
    let out = PathBuf::from(var("OUT_DIR"));
    let edited = out.join("lua");
    fs::create_dir_all(&edited).expect("cargo's folder can be written to");
    let mut library = cc::Build::new();
    for source in files_of(&sources(&out)) {
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let path = edited.join(&name);
        fs::write(&path, edits::edited(&name, text)).expect("cargo's folder can be written to");
        if name.ends_with(".c") {
            library.file(path);
        }
    }
    if var("PROFILE") == "debug" {
        library.define("LUA_USE_APICHECK", None);
    }
    // For `tools/asan`, which links the checker in as well.
    if let Ok(checks) = std::env::var("KV_LUA_SANITIZE") {
        library.flag(format!("-fsanitize={checks}")).flag("-fno-omit-frame-pointer");
    }
    library
        .include(&edited)
        .define("LUA_USE_LINUX", None)
        // Overflows of signed numbers are what the code takes them for, not a licence to leave checks out.
        .flag("-fwrapv")
        .opt_level(2)
        .warnings(false)
        .cargo_metadata(false)
        .compile("lua5.1");
    println!("cargo:rustc-link-search=native={}", out.display());
    // Whole, for `mlua` stands before it on the linker's command line or behind it.
    println!("cargo:rustc-link-lib=static:+whole-archive=lua5.1");
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

/// Where cargo has put `lua-src`. The crate compiles its sources and does not say where they are; cargo does, asked about
/// a package that has nothing else.
fn sources(out: &Path) -> PathBuf {
    let asking = out.join("asking");
    fs::create_dir_all(&asking).expect("cargo's folder can be written to");
    let manifest = asking.join("Cargo.toml");
    let package = "[package]\nname = \"asking\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n";
    fs::write(&manifest, format!("{package}[dependencies]\nlua-src = \"=551.0.2\"\n")).expect("it can be written to");
    fs::write(asking.join("lib.rs"), "").expect("it can be written to");
    // The versions that are here, for nothing is fetched.
    let own = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    let _ = fs::copy(own.join("../Cargo.lock"), asking.join("Cargo.lock"));
    let answer = Command::new(var("CARGO"))
        .args(["metadata", "--offline", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .current_dir(&own)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&answer.stdout);
    let manifests = text.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut folders = manifests.map(Path::new).filter_map(Path::parent).map(|folder| folder.join("lua-5.1.5"));
    let found = folders.find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("no sources of Lua: {}", String::from_utf8_lossy(&answer.stderr)))
}
