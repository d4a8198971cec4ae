//! TLS towards services: whom we trust, who we are, which HTTP we offer, and what it means when the
//! two sides do not agree.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::engine::code::Code;
use crate::pem;
use crate::plan::settings::{HttpVersion, Tls};

/// What an `https` endpoint is connected with.
#[derive(Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Secure {
    /// `host` is the endpoint's, used where `tls` names no other.
    pub fn new(config: Arc<ClientConfig>, tls: &Tls, host: &str) -> Result<Secure, String> {
        let name = pem::server_name(tls.server_name.as_deref().unwrap_or(host))?;
        Ok(Secure { config, name })
    }

    /// Shakes hands over `io`.
    pub async fn connect<T>(&self, io: T) -> io::Result<Box<TlsStream<T>>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config.clone());
        Ok(Box::new(connector.connect(self.name.clone(), io).await?))
    }
}

/// Says what is wrong with the texts, without opening anything but the system's roots.
pub fn validate(tls: &Tls, http: HttpVersion) -> Result<(), String> {
    client_config(tls, http).map(drop)
}

/// The system's roots or the given CA, the given identity or none, and ALPN by `http`.
pub fn client_config(tls: &Tls, http: HttpVersion) -> Result<ClientConfig, String> {
    let roots = match &tls.ca {
        Some(text) => pem::roots(text)?,
        None => system_roots(),
    };
    // The provider is named here: with two of them in a build, rustls has no default.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let identity = pem::identity(chain, key)?;
            builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(|error| error.to_string())?
        }
    };
    config.alpn_protocols = match http {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::One => vec![b"http/1.1".to_vec()],
        HttpVersion::Two => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// What the system trusts. A certificate that cannot be read is left out, as everywhere; with none
/// at all every connection fails, and says that the issuer is unknown.
fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

/// The code of a handshake that went wrong.
pub fn code(error: &io::Error) -> Code {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => Code::TlsCertificate,
        Some(rustls::Error::AlertReceived(_)) => Code::TlsAlert,
        _ => Code::TlsFailure,
    }
}

/// What went wrong in a handshake, for operators: the kind of trouble, no name and no address.
pub fn detail(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(error)) => certificate_detail(error),
        Some(rustls::Error::AlertReceived(_)) => "the service refused the TLS handshake",
        Some(rustls::Error::NoApplicationProtocol) => "no common HTTP version by ALPN",
        Some(_) => "the service does not speak TLS as it should",
        None => "the connection ended during the TLS handshake",
    }
}

fn certificate_detail(error: &CertificateError) -> &'static str {
    use CertificateError::*;
    match error {
        Expired | ExpiredContext { .. } => "the service's certificate has expired",
        NotValidYet | NotValidYetContext { .. } => "the service's certificate is not valid yet",
        // A signature that does not fit is that of another issuer of the same name.
        UnknownIssuer | BadSignature => "the service's certificate has an unknown issuer",
        NotValidForName | NotValidForNameContext { .. } => {
            "the service's certificate is for another name"
        }
        Revoked => "the service's certificate was revoked",
        _ => "the service's certificate is not valid",
    }
}

/// A connection with or without TLS.
pub enum Stream<T> {
    Plain(T),
    Secure(Box<TlsStream<T>>),
}

impl<T> Stream<T> {
    /// What it runs over.
    pub fn io_mut(&mut self) -> &mut T {
        match self {
            Stream::Plain(io) => io,
            Stream::Secure(stream) => stream.get_mut().0,
        }
    }

    /// Whether HTTP/2 was agreed on.
    pub fn chose_h2(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Secure(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// Calls one method on whichever stream it is.
macro_rules! on_stream {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut *$stream {
            Stream::Plain(inner) => Pin::new(inner).$method($($argument),*),
            Stream::Secure(inner) => Pin::new(inner.as_mut()).$method($($argument),*),
        }
    };
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, poll_read(context, buffer))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(inner) => inner.is_write_vectored(),
            Stream::Secure(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_shutdown(context))
    }
}
