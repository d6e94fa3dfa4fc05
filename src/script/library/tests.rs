//! Which scripts are kept, and which go; a kill and a write at once.

use super::*;

fn script(source: &str) -> Script {
    Script::new(sha_of(source.as_bytes()), Traits::default())
}

fn keep(library: &Library, source: &str) -> Arc<Script> {
    library.keep(script(source), source.as_bytes())
}

#[test]
fn a_script_is_killed_or_writes() {
    let running = Running::default();
    assert!(!running.kill(1_000, 0) && running.elapsed(1_000).is_none());
    running.start(1_000);
    assert!(!running.kill(1_005, 10) && !running.is_killed());
    assert!(running.kill(1_010, 10) && running.kill(1_010, 10) && !running.write() && !running.has_written());
    running.start(2_000);
    assert!(!running.is_killed() && running.write() && running.write() && !running.kill(3_000, 10));
    assert_eq!(running.elapsed(2_500), Some(500));
    running.stop();
    assert!(running.elapsed(3_000).is_none() && !running.has_written());
}

/// Whoever comes first: never both, never neither.
#[test]
fn of_a_kill_and_a_write_at_once_one_comes_about() {
    let running = Running::default();
    for _ in 0..10_000 {
        running.start(1);
        let (killed, wrote) = std::thread::scope(|scope| {
            let killer = scope.spawn(|| running.kill(100, 10));
            let wrote = running.write();
            (killer.join().unwrap(), wrote)
        });
        assert!(killed != wrote);
    }
}

#[test]
fn names() {
    let sha = sha_of(b"return 1");
    assert_eq!(show_sha(&sha), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    assert_eq!(parse_sha(b"E0E1F9fabfc9d4800c877a703b823ac0578ff8db"), Some(sha));
    assert_eq!(parse_sha(b"e0e1"), None);
    assert_eq!(parse_sha(&[b'x'; 40]), None);
}

#[test]
fn first_lines() {
    let declared = |flags| Traits::of(format!("#!lua flags={flags}\nreturn 1").as_bytes());
    assert_eq!(Traits::of(b"return 1"), Ok(Traits::default()));
    assert!(declared("no-writes,allow-stale").unwrap().no_writes);
    assert!(!declared("allow-oom").unwrap().no_writes);
    assert!(declared("").unwrap().is_declared);
    assert_eq!(declared("x"), Err("ERR Unexpected flag in script shebang: x".into()));
    assert_eq!(Traits::of(b"#!lua x=y\n"), Err("ERR Unknown lua shebang option: x=y".into()));
    assert_eq!(Traits::of(b"#!js\n"), Err("ERR Unexpected engine in script shebang: #!js".into()));
    assert_eq!(Traits::of(b"#!lua"), Err("ERR Invalid script shebang".into()));
}

#[test]
fn what_eval_brings_is_forgotten_in_the_order_of_use_and_what_was_loaded_stays() {
    let library = Library::new(1);
    library.load(script("loaded"), b"loaded").unwrap();
    let kept: Vec<_> = (0..limits::SCRIPTS_EVALUATED_MAX).map(|n| keep(&library, &format!("return {n}"))).collect();
    library.touch(&kept[0]);
    keep(&library, "one more");
    assert!(library.find(&kept[0].sha).is_some() && library.find(&kept[1].sha).is_none());
    assert!(kept[1].is_gone() && library.evicted() == 1);
    assert!(library.find(&sha_of(b"loaded")).is_some());
    // Loaded after it was evaluated: it makes room for another.
    library.load(script("return 2"), b"return 2").unwrap();
    keep(&library, "yet one more");
    assert_eq!((library.held().scripts, library.evicted()), (limits::SCRIPTS_EVALUATED_MAX + 2, 1));
    library.flush();
    assert_eq!((library.held().scripts, library.held().bytes(), kept[0].is_gone()), (0, 0, true));
}

#[test]
fn sources_are_bounded_and_told() {
    let library = Library::new(1);
    let large = vec![0; limits::SCRIPTS_MIN_BYTES / 3];
    let script = |n: u8| Script::new([n; 20], Traits::default());
    (1..=3).for_each(|n| drop(library.keep(script(n), &large)));
    assert_eq!((library.held().scripts, library.evicted(), library.departures()), (2, 1, 1));
    assert!(library.load(script(4), &large).unwrap_err().starts_with("OOM"));
    assert!(library.keep(script(9), &vec![9; limits::SCRIPTS_MIN_BYTES]).is_gone());
    assert_eq!(library.take_change(), library.held().source_bytes() as isize);
    assert_eq!(library.take_change(), 0);
    let before = library.held().source_bytes() as isize;
    library.flush();
    assert_eq!((library.take_change(), library.take_change()), (-before, 0));
}
