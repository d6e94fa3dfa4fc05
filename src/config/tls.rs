//! TLS as the options have it: certificates and keys from their files to a configuration, whole or not at all. It must not
//! know connections.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// What is asked for, as it was written; what was not is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    pub cert_file: String,
    pub key_file: String,
    pub ca_cert_file: String,
    pub auth_clients: String,
    pub protocols: String,
}

/// The names that Redis has for the versions.
const VERSIONS: [(&str, &SupportedProtocolVersion); 2] =
    [("TLSv1.2", &rustls::version::TLS12), ("TLSv1.3", &rustls::version::TLS13)];

impl TlsOptions {
    /// Reads the files.
    ///
    /// # Errors
    /// Why there is no such configuration: one line that names the option.
    pub fn load(&self) -> Result<Arc<ServerConfig>, String> {
        if self.cert_file.is_empty() || self.key_file.is_empty() {
            return Err("TLS needs --tls-cert-file and --tls-key-file".to_owned());
        }
        let certificates = certificates("tls-cert-file", &self.cert_file)?;
        let key = PrivateKeyDer::from_pem_file(Path::new(&self.key_file))
            .map_err(|error| format!("--tls-key-file {}: {error}", self.key_file))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("--tls-protocols: {error}"))?;
        let builder = match self.required_clients()? {
            None => builder.with_no_client_auth(),
            Some(is_required) => {
                let mut roots = RootCertStore::empty();
                for certificate in self::certificates("tls-ca-cert-file", &self.ca_cert_file)? {
                    roots.add(certificate).map_err(|error| format!("--tls-ca-cert-file: {error}"))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if is_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(
                    verifier.build().map_err(|error| format!("--tls-ca-cert-file: {error}"))?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| format!("--tls-cert-file and --tls-key-file do not fit together: {error}"))?;
        // Sessions are resumed by tickets, which the clients keep: they hold nothing here, and end with the configuration.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(|error| format!("no keys for tickets: {error}"))?;
        config.send_tls13_tickets = 1;
        let config = Arc::new(config);
        UnbufferedServerConnection::new(config.clone()).map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// # Errors
    /// A version is not known, or too old.
    pub fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        if self.protocols.is_empty() {
            return Ok(VERSIONS.map(|(_, version)| version).to_vec());
        }
        let find = |word: &str| VERSIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let found = self.protocols.split_whitespace().map(|word| {
            let found = find(word).map(|(_, version)| *version);
            found.ok_or_else(|| format!("--tls-protocols {word}: there are TLSv1.2 and TLSv1.3"))
        });
        found.collect()
    }

    /// Whether clients must have a certificate, or may; `None` when they are not asked for one.
    pub fn required_clients(&self) -> Result<Option<bool>, String> {
        let asked = match self.auth_clients.to_ascii_lowercase().as_str() {
            "" => (!self.ca_cert_file.is_empty()).then_some(true),
            "yes" => Some(true),
            "optional" => Some(false),
            "no" => None,
            _ => return Err("--tls-auth-clients must be yes, no or optional".to_owned()),
        };
        if asked.is_some() && self.ca_cert_file.is_empty() {
            return Err("--tls-auth-clients needs --tls-ca-cert-file".to_owned());
        }
        Ok(asked)
    }
}

fn certificates(option: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let refuse = |error: &dyn std::fmt::Display| format!("--{option} {path}: {error}");
    let found = CertificateDer::pem_file_iter(Path::new(path)).map_err(|error| refuse(&error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| refuse(&error))?;
    if found.is_empty() { Err(refuse(&"it has no certificate")) } else { Ok(found) }
}
