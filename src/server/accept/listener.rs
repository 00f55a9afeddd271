//! Where is listened: TCP addresses and unix sockets, side by side.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// How many connections wait in the system's queue.
const BACKLOG: i32 = 4096;
/// After how much silence a client is asked whether it is still there, and how often then.
const ASKED_AFTER: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(15);

/// A place to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address; with port 0 the system picks one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a place is taken.
#[derive(Debug, Clone, Copy)]
pub struct ListenSettings {
    /// Who may use a unix socket, as `chmod` has it.
    pub unix_mode: u32,
    /// How long what was sent may be unconfirmed before the client counts as gone.
    pub write_timeout: Duration,
}

/// All places that are listened at.
#[derive(Debug)]
pub struct Listeners {
    all: Vec<Listener>,
    addresses: Vec<Address>,
    /// Whose turn it is to be asked first.
    turn: usize,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        /// Goes with it.
        _file: SocketFile,
    },
}

/// A connection that was taken.
pub(super) enum Socket {
    /// With the client's address.
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listeners {
    /// Takes all places, or none.
    ///
    /// # Errors
    /// The one that cannot be had, and why.
    pub fn bind(
        addresses: &[Address],
        settings: ListenSettings,
    ) -> Result<Self, (Address, io::Error)> {
        let mut this = Self {
            all: Vec::with_capacity(addresses.len()),
            addresses: Vec::with_capacity(addresses.len()),
            turn: 0,
        };
        for address in addresses {
            let taken = match address {
                Address::Tcp(at) => tcp(*at, addresses, settings),
                Address::Unix(path) => unix(path, settings),
            };
            let (listener, taken) = taken.map_err(|error| (address.clone(), error))?;
            this.all.push(listener);
            this.addresses.push(taken);
        }
        Ok(this)
    }

    /// Where is really listened, in the order in which it was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Takes a connection from any of them, each in its turn.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        for n in 0..self.all.len() {
            let at = (self.turn + n) % self.all.len();
            let accepted = match &self.all[at] {
                Listener::Tcp(listener) => listener
                    .poll_accept(cx)
                    .map_ok(|(stream, peer)| Socket::Tcp(stream, peer)),
                #[cfg(unix)]
                Listener::Unix { listener, .. } => listener
                    .poll_accept(cx)
                    .map_ok(|(stream, _)| Socket::Unix(stream)),
            };
            if accepted.is_ready() {
                self.turn = at + 1;
                return accepted;
            }
        }
        Poll::Pending
    }
}

fn tcp(
    address: SocketAddr,
    all: &[Address],
    settings: ListenSettings,
) -> io::Result<(Listener, Address)> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Without it a restart would have to wait for the last connections' remains. Elsewhere it means
    // that others may take the address too.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    let is_rival = |other: &Address| matches!(other, Address::Tcp(other) if other.is_ipv4() && other.port() == address.port());
    if address.is_ipv6() && address.port() != 0 && all.iter().any(is_rival) {
        // Most systems let `[::]` stand for `0.0.0.0` too, which then is taken.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // Connections inherit these: no call for each. Where one is not known, it is done without.
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(ASKED_AFTER)
        .with_interval(ASKED_EVERY);
    let _ = socket.set_tcp_keepalive(&keepalive);
    gone_after(&socket, settings.write_timeout);
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    let taken = listener.local_addr()?;
    Ok((Listener::Tcp(listener), Address::Tcp(taken)))
}

/// A client whose machine vanished takes nothing, and says nothing.
#[cfg(target_os = "linux")]
fn gone_after(socket: &RawSocket, limit: Duration) {
    let _ = socket.set_tcp_user_timeout(Some(limit));
}

#[cfg(not(target_os = "linux"))]
fn gone_after(_: &RawSocket, _: Duration) {}

impl Socket {
    /// Each delta is to go out at once. Linux has it from the listener.
    pub(super) fn hurry(&self) {
        if cfg!(target_os = "linux") {
            return;
        }
        if let Self::Tcp(stream, _) = self
            && let Err(error) = SockRef::from(stream).set_tcp_nodelay(true)
        {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    }
}

#[cfg(unix)]
fn unix(path: &Path, settings: ListenSettings) -> io::Result<(Listener, Address)> {
    use std::os::unix::fs::PermissionsExt;

    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        clear(path, &address)?;
        socket.bind(&address)?;
    }
    let _file = SocketFile::of(path)?;
    // Before anybody can connect.
    std::fs::set_permissions(path, PermissionsExt::from_mode(settings.unix_mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(socket.into())?;
    let taken = Address::Unix(path.to_path_buf());
    Ok((Listener::Unix { listener, _file }, taken))
}

#[cfg(not(unix))]
fn unix(_: &Path, _: ListenSettings) -> io::Result<(Listener, Address)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Takes away what a process left behind that ended without a word. What is in use, or is no socket,
/// stays.
#[cfg(unix)]
fn clear(path: &Path, address: &SockAddr) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;

    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        let message = "there is a file in its place that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let caller = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full queue must not hold up the start.
    caller.set_nonblocking(true)?;
    match caller.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "a socket that nobody listens on is replaced");
            std::fs::remove_file(path)
        }
        Ok(()) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on it",
        )),
        Err(error) => Err(error),
    }
}

/// The file of a unix socket, which goes with its listener.
#[cfg(unix)]
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Its device and number: another process may have put its own in the place.
    id: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            id: id_of(path)?,
        })
    }
}

#[cfg(unix)]
fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if id_of(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket cannot be removed");
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    const SETTINGS: ListenSettings = ListenSettings {
        unix_mode: 0o620,
        write_timeout: Duration::from_secs(9),
    };

    fn bind(path: &Path) -> Result<Listeners, String> {
        let addresses = [Address::Unix(path.to_path_buf())];
        Listeners::bind(&addresses, SETTINGS).map_err(|(_, error)| error.to_string())
    }

    #[tokio::test]
    async fn a_socket_is_made_with_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listeners = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o620);
        assert_eq!(listeners.addresses(), [Address::Unix(path.clone())]);
        drop(listeners);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_what_nobody_uses_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let used = StdListener::bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err(), "another process listens on it");
        drop(used);
        assert!(path.exists(), "its file is still there");
        drop(bind(&path).unwrap());
        std::fs::write(&path, "precious").unwrap();
        let error = bind(&path).unwrap_err();
        assert_eq!(error, "there is a file in its place that is no socket");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_file_of_another_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listeners = bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = StdListener::bind(&path).unwrap();
        drop(listeners);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn connections_inherit_that_each_write_goes_out_at_once() {
        let address = Address::Tcp("127.0.0.1:0".parse().unwrap());
        let mut listeners = Listeners::bind(&[address], SETTINGS).unwrap();
        let Address::Tcp(address) = listeners.addresses()[0] else {
            panic!("it is TCP");
        };
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = std::future::poll_fn(|cx| listeners.poll_accept(cx)).await;
        let socket = accepted.unwrap();
        socket.hurry();
        let Socket::Tcp(stream, _) = socket else {
            panic!("it is TCP");
        };
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn both_families_can_have_the_same_port() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let any = |ip: &str| Address::Tcp(format!("{ip}:{port}").parse().unwrap());
        let addresses = [any("[::]"), any("0.0.0.0")];
        match Listeners::bind(&addresses, SETTINGS) {
            Ok(listeners) => assert_eq!(listeners.addresses(), addresses),
            // Without IPv6 there is nothing to see.
            Err((address, error)) => assert_eq!(address, addresses[0], "{error}"),
        }
    }
}
