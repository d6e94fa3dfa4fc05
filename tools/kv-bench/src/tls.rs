//! TLS over a stream, blocking or not: which server is trusted, and the encrypted stream. Knows nothing of what is sent over it.

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

/// Which servers are trusted.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

pub type Encrypted<S> = Box<StreamOwned<ClientConnection, S>>;

impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}

impl Trust {
    /// Those whose certificate an authority of this file has signed; without one, any.
    pub fn of(authorities: Option<&Path>) -> Result<Trust, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|why| why.to_string())?;
        let config = match authorities {
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
            }
            Some(path) => {
                let failed = |why: &dyn std::fmt::Display| format!("--cacert {}: {why}", path.display());
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).map_err(|why| failed(&why))? {
                    roots.add(certificate.map_err(|why| failed(&why))?).map_err(|why| failed(&why))?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        Ok(Trust(Arc::new(config)))
    }

    /// Begins TLS on a stream that is connected, or about to be.
    pub fn wrap<S: Read + Write>(&self, address: &SocketAddr, stream: S) -> io::Result<Encrypted<S>> {
        let name = ServerName::from(address.ip());
        let connection = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// Trusts anybody: for servers whose certificate nobody knows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
