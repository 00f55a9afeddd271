//! The processes that are measured.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// The first argument of this program when it is to be the byte-forwarder.
pub(crate) const FORWARD: &str = "forward";

/// What is measured.
pub(crate) enum Kind {
    /// This nginx.
    Nginx(PathBuf),
    /// This program, copying bytes.
    Bytes,
    /// This Antiphon.
    Antiphon(String),
}

/// A process under load.
pub(crate) struct Target {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// For nginx's files.
    _folder: tempfile::TempDir,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nginx(_) => f.write_str("nginx"),
            Self::Bytes => f.write_str("bytes"),
            Self::Antiphon(binary) => f.write_str(binary),
        }
    }
}

pub(crate) fn find_nginx() -> Option<PathBuf> {
    let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    known
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

impl Target {
    /// Starts one, on core 0 if there is a choice, and waits until it listens.
    pub(crate) async fn start(kind: &Kind, upstream: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address().await;
        let mut words: Vec<String> = match kind {
            Kind::Nginx(path) => {
                let configuration = folder.path().join("nginx.conf");
                std::fs::write(&configuration, nginx(folder.path(), address, upstream)).unwrap();
                let words = [
                    path,
                    Path::new("-c"),
                    &configuration,
                    Path::new("-p"),
                    folder.path(),
                ];
                words
                    .iter()
                    .map(|word| word.display().to_string())
                    .collect()
            }
            Kind::Bytes => {
                let exe = std::env::current_exe().unwrap().display().to_string();
                vec![
                    exe,
                    FORWARD.into(),
                    address.to_string(),
                    upstream.to_string(),
                ]
            }
            Kind::Antiphon(binary) => {
                let upstream = format!("http://{upstream}/v1");
                let listen = address.to_string();
                let words = [
                    binary,
                    "serve",
                    "--listen",
                    &listen,
                    "--upstream",
                    &upstream,
                ];
                words.map(str::to_owned).to_vec()
            }
        };
        if std::env::var_os("WHOLE_PINNED").is_some() {
            words.splice(0..0, ["taskset", "-c", "0"].map(str::to_owned));
        }
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env("HOME", folder.path())
            .env("XDG_STATE_HOME", folder.path())
            .env("RUST_LOG", "warn")
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        // Whatever becomes of it, it is ended with this.
        let target = Self {
            child,
            address,
            path: "/v1/responses",
            _folder: folder,
        };
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return target;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{kind} does not listen");
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = tasks.filter_map(|task| {
            let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        });
        nanos.sum::<u64>() as f64 / 1e9
    }

    /// Resident memory, in KB.
    pub(crate) fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().split(' ').next()).unwrap();
        number.parse().unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Nginx as it is set up for streams: no buffering, connections kept, one process.
fn nginx(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections 30000; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 1m; keepalive_requests 1000000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream mock {{ server {upstream}; keepalive 10000; }}
  server {{
    listen {address} backlog=4096;
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"
    )
}

/// Copies the bytes of each connection to one of its own, until it is killed.
pub(crate) fn forward(listen: &str, upstream: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        loop {
            let Ok((mut client, _)) = listener.accept().await else {
                continue;
            };
            let upstream = upstream.to_owned();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}
