//! The configuration of TLS that new connections get, and how another takes its place.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;

use crate::config::tls::TlsOptions;

/// TLS is spoken at a port, or nowhere: that does not change while the server runs.
pub struct Tls {
    /// What is asked for; the files are read by `load`.
    pub wanted: Mutex<TlsOptions>,
    current: RwLock<Option<Arc<ServerConfig>>>,
}

impl Tls {
    pub fn new(wanted: TlsOptions, current: Option<Arc<ServerConfig>>) -> Tls {
        Tls { wanted: Mutex::new(wanted), current: RwLock::new(current) }
    }

    pub fn is_on(&self) -> bool {
        self.current.read().is_some()
    }

    /// What a new connection gets. Panics where TLS is not spoken.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().clone().expect("TLS is spoken")
    }

    /// Reads the files again, for connections that come from now on.
    ///
    /// # Errors
    /// Why it cannot be: the configuration of before stays.
    pub fn load(&self) -> Result<(), String> {
        if self.is_on() {
            let loaded = self.wanted.lock().load()?;
            *self.current.write() = Some(loaded);
        }
        Ok(())
    }
}
