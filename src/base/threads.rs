//! Threads that are started once, at the beginning.

use std::sync::mpsc;

/// Starts a thread, and waits until it runs: it needs memory for its own stacks before that, and whatever is refused while it
/// starts ends the process. Panics where the kernel has no thread to give.
pub fn start(run: impl FnOnce() + Send + 'static) {
    let (begun, runs) = mpsc::channel();
    std::thread::spawn(move || {
        // Whoever started it waits for this.
        let _ = begun.send(());
        run();
    });
    let _ = runs.recv();
}
