//! A program that a test runs in the background: what it prints is collected, and it ends with the test.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A running child process with its collected output.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Arc<Mutex<String>>,
}

impl Running {
    /// Starts the program and waits until it prints a line with `marker`; returns what follows the marker there.
    pub(crate) fn start(command: &mut Command, marker: &str, limit: Duration) -> (Self, String) {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take();
        let log = Arc::default();
        let (lines, arriving) = mpsc::channel();
        drain(child.stdout.take(), &log, &lines);
        drain(child.stderr.take(), &log, &lines);
        drop(lines);
        let running = Self { child, stdin, log };

        let deadline = Instant::now() + limit;
        let why = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match arriving.recv_timeout(left) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(marker) {
                        return (running, rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => break "in time",
                Err(RecvTimeoutError::Disconnected) => break "and ended",
            }
        };
        panic!(
            "{command:?} never said {marker:?} {why}:\n{}",
            running.log()
        );
    }

    /// Its number in the system.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it to end by itself; its exit code.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<i32> {
        wait(&mut self.child, limit)?.code()
    }

    /// Everything it has printed so far.
    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its standard input is open");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Closes its standard input and gives it a moment to end by itself.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.stdin.take());
        wait(&mut self.child, Duration::from_secs(2));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Waits for the child to end by itself; `None` when the time is up.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Ends the child, if it still runs.
pub(crate) fn end(child: &mut Child) {
    // Both fail only when it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

fn drain(
    source: Option<impl Read + Send + 'static>,
    log: &Arc<Mutex<String>>,
    lines: &mpsc::Sender<String>,
) {
    let (Some(source), log, lines) = (source, Arc::clone(log), lines.clone()) else {
        return;
    };
    thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
            // Nobody listens any more once the marker has been seen.
            let _ = lines.send(line);
        }
    });
}
