//! The connections that MONITOR: each is told of every command. It must not know what a command is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::Client;

#[derive(Debug, Default)]
pub struct Monitors {
    /// All that commands look at while there are none.
    any: AtomicBool,
    list: Mutex<Vec<Arc<Client>>>,
}

impl Monitors {
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// From now on `client` is told; false if it was before.
    pub fn enter(&self, client: &Arc<Client>) -> bool {
        let mut list = self.list();
        let new = !client.monitoring.swap(true, Relaxed);
        if new {
            list.push(client.clone());
            self.any.store(true, Relaxed);
        }
        new
    }

    pub fn leave(&self, client: &Client) {
        if !client.is_monitor() {
            return;
        }
        let mut list = self.list();
        client.monitoring.store(false, Relaxed);
        list.retain(|monitor| monitor.id != client.id);
        self.any.store(!list.is_empty(), Relaxed);
    }

    pub fn tell(&self, line: Bytes) {
        self.list().iter().for_each(|monitor| monitor.push(line.clone()));
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Client>>> {
        self.list.lock()
    }
}
