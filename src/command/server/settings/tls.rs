//! The parameters of CONFIG that are about TLS: all that are set at once take effect together, when all are set.

use crate::config::tls::TlsOptions;
use crate::shared::Shared;

type Place = fn(&mut TlsOptions) -> &mut String;

pub const CERT: Place = |options| &mut options.cert_file;
pub const KEY: Place = |options| &mut options.key_file;
pub const CA: Place = |options| &mut options.ca_cert_file;
pub const CLIENTS: Place = |options| &mut options.auth_clients;
pub const PROTOCOLS: Place = |options| &mut options.protocols;

/// The files are to be read again when it has been set, if it is the same, too.
pub fn is_about(name: &[u8]) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"tls-"))
}

pub fn get(shared: &Shared, place: Place) -> String {
    place(&mut shared.settings.tls.wanted.lock()).clone()
}

pub fn set(shared: &Shared, place: Place, text: &str) -> Result<(), String> {
    if !shared.settings.tls.is_on() {
        // As it is: whoever sets everything to what CONFIG GET has told changes nothing.
        if get(shared, place) == text {
            return Ok(());
        }
        return Err("TLS is spoken at no port: --tls-port takes a restart".to_owned());
    }
    *place(&mut shared.settings.tls.wanted.lock()) = text.to_owned();
    Ok(())
}
