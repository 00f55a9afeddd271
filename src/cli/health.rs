//! `antiphon health`: for those who watch over the process and have no other program at hand.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use secrecy::ExposeSecret;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{ConfigArgs, fail, written};
use crate::config::{Listen, Server, Tls};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of an answer is read.
const MOST: u64 = 16 * 1024;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Ask whether the process is alive, not whether it takes new work
    #[arg(long)]
    live: bool,
}

pub(super) fn run(args: &ConfigArgs, own: &HealthArgs) -> ExitCode {
    // Those who watch know well and not well only.
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, 1),
    };
    let path = if own.live { "/healthz" } else { "/readyz" };
    let Some(place) = Place::best(&config.server) else {
        return fail(&"port 0 is any port: give the one that it listens on", 1);
    };
    let (line, is_well) = match place.ask(path) {
        Ok(answer) => (answer.words, answer.status == 200),
        Err(error) => (error.to_string(), false),
    };
    let told = written(writeln!(io::stdout(), "{} {path}: {line}", place.name));
    if is_well { told } else { ExitCode::from(1) }
}

/// Where it is asked.
struct Place<'c> {
    /// As a person reads it.
    name: String,
    address: SockAddr,
    domain: Domain,
    /// By what it is protected, and whose name is asked for.
    tls: Option<(&'c Tls, IpAddr)>,
}

struct Answer {
    status: u16,
    /// The status with what is said to it.
    words: String,
}

impl<'c> Place<'c> {
    /// A unix socket if there is one, as that needs no certificate; else the address that is nearest.
    fn best(server: &'c Server) -> Option<Self> {
        let unix = server.listen.iter().find_map(|listen| match listen {
            Listen::Unix(path) => Some(Self {
                name: listen.to_string(),
                address: SockAddr::unix(path).ok()?,
                domain: Domain::UNIX,
                tls: None,
            }),
            Listen::Tcp(_) => None,
        });
        let tcp = || {
            let mut addresses = server.addresses().into_iter();
            let address = addresses.find(|address| address.port() != 0)?;
            Some(Self {
                name: format!("{}://{address}", server.scheme()),
                address: address.into(),
                domain: Domain::for_address(address),
                tls: server.tls.as_ref().map(|tls| (tls, address.ip())),
            })
        };
        unix.or_else(tcp)
    }

    fn ask(&self, path: &str) -> io::Result<Answer> {
        let socket = Socket::new(self.domain, Type::STREAM, None)?;
        socket.connect_timeout(&self.address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        match self.tls {
            None => exchange(socket, path),
            Some((tls, ip)) => {
                let settings = settings(tls).map_err(io::Error::other)?;
                let client = ClientConnection::new(Arc::new(settings), ServerName::from(ip))
                    .map_err(io::Error::other)?;
                exchange(StreamOwned::new(client, socket), path).map_err(|error| {
                    match tls.client_ca_file {
                        Some(_) => io::Error::other(format!(
                            "{error} (clients need a certificate here: give `listen` a unix socket too, \
                             which is asked then)"
                        )),
                        None => error,
                    }
                })
            }
        }
    }
}

fn exchange(mut stream: impl Read + Write, path: &str) -> io::Result<Answer> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: antiphon-health\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(MOST).read_to_end(&mut answer) {
        Ok(_) => {}
        // Over TLS some end without a goodbye.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        Err(error) => return Err(error),
    }
    read(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::other("what answers does not speak HTTP"))
}

fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let said = body.lines().next().unwrap_or_default();
    Some(Answer {
        status,
        words: match status {
            200 => said.to_owned(),
            _ => format!("{status} {said}").trim_end().to_owned(),
        },
    })
}

/// Takes any certificate: the process on this machine is asked how it is, and told nothing.
fn settings(tls: &Tls) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    if tls.client_ca_file.is_none() {
        return Ok(builder.with_no_client_auth());
    }
    // The server's own may be from one of the issuers whose clients are let in.
    let broken = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    let chain = CertificateDer::pem_slice_iter(tls.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(broken)?;
    let key = tls.key_pem.expose_secret().as_bytes();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(broken)?;
    builder.with_client_auth_cert(chain, key)
}

/// Whoever shows a certificate and has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let words = |answer: &str| read(answer).map(|answer| (answer.status, answer.words));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
        assert_eq!(words(answer), Some((200, "ok".to_owned())));
        let answer = "HTTP/1.1 503 Service Unavailable\r\n\r\ndraining\n";
        assert_eq!(words(answer), Some((503, "503 draining".to_owned())));
        let answer = "HTTP/1.1 404 Not Found\r\n\r\n";
        assert_eq!(words(answer), Some((404, "404".to_owned())));
        for nonsense in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK",
        ] {
            assert_eq!(words(nonsense), None, "{nonsense}");
        }
    }
}
