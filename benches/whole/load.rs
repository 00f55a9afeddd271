//! The load: clients that ask again as soon as they are answered, and what they see.

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::mock::find;
use crate::script::{STAMP, Workload};
use crate::target::Target;

/// Slow streams begin so many a second.
const BEGIN_RATE: f64 = 400.0;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time as the text of a delta.
pub(crate) fn now_stamp() -> String {
    format!("{:0STAMP$x}", EPOCH.elapsed().as_nanos())
}

/// What came of a run.
pub(crate) struct Figures {
    /// Answers a second.
    pub(crate) rate: f64,
    /// The target's CPU for an answer, in microseconds.
    pub(crate) cpu_us: f64,
    /// To the first delta.
    pub(crate) first_ms: f64,
    /// From a delta's sending to its arrival, p50 and p99.
    pub(crate) late_ms: (f64, f64),
    /// Memory at its most, beyond what there was before, for each client.
    pub(crate) stream_kb: f64,
}

#[derive(Default)]
struct Seen {
    answers: usize,
    firsts: Vec<f64>,
    late: Vec<f64>,
}

/// A few answers, so that connections are open and pages touched.
pub(crate) async fn warm_up(target: &Target, workload: &Workload) {
    // Memory is to be seen growing.
    if !workload.time.is_zero() {
        drive(
            target,
            workload,
            Some(Duration::from_millis(300)),
            workload.at_once,
        )
        .await;
    } else {
        drive(target, workload, None, 1).await;
    }
}

pub(crate) async fn run(target: &Target, workload: &Workload) -> Figures {
    let (cpu, memory) = (target.cpu(), target.memory());
    let begun = Instant::now();
    let time = (!workload.time.is_zero()).then_some(workload.time);
    let (mut seen, peak) = drive(target, workload, time, workload.at_once).await;
    let wall = begun.elapsed().as_secs_f64();
    let answers = seen.answers as f64;
    Figures {
        rate: answers / wall,
        cpu_us: (target.cpu() - cpu) * 1e6 / answers,
        first_ms: quantile(&mut seen.firsts, 0.5),
        late_ms: (
            quantile(&mut seen.late, 0.5),
            quantile(&mut seen.late, 0.99),
        ),
        stream_kb: (peak - memory) / workload.at_once as f64,
    }
}

/// Lets clients ask for so long, or once each; returns what they saw and the most memory.
async fn drive(
    target: &Target,
    workload: &Workload,
    time: Option<Duration>,
    clients: usize,
) -> (Seen, f64) {
    let until = time.map(|time| Instant::now() + time);
    let request = Rc::new(request(target, workload));
    let local = LocalSet::new();
    let streamed = workload.stream;
    let tasks: Vec<_> = (0..clients)
        .map(|n| {
            let (request, address) = (Rc::clone(&request), target.address);
            local.spawn_local(async move {
                if until.is_none() {
                    let wait = Duration::from_secs_f64(n as f64 / BEGIN_RATE);
                    tokio::time::sleep(wait).await;
                }
                let mut seen = Seen::default();
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                loop {
                    ask(&mut stream, &request, streamed, &mut seen).await;
                    if until.is_none_or(|until| Instant::now() >= until) {
                        return seen;
                    }
                }
            })
        })
        .collect();
    let mut all = Seen::default();
    let mut peak = target.memory();
    local
        .run_until(async {
            let watch = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    peak = peak.max(target.memory());
                }
            };
            let gather = async {
                for task in tasks {
                    let seen = task.await.unwrap();
                    all.answers += seen.answers;
                    all.firsts.extend(seen.firsts);
                    all.late.extend(seen.late);
                }
            };
            tokio::select! {
                () = gather => {}
                () = watch => {}
            }
        })
        .await;
    (all, peak)
}

fn request(target: &Target, workload: &Workload) -> Vec<u8> {
    let body = workload.request();
    format!(
        "POST {} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        target.path,
        body.len()
    )
    .into_bytes()
}

/// Asks, and reads the answer to its end.
async fn ask(stream: &mut TcpStream, request: &[u8], streamed: bool, seen: &mut Seen) {
    let asked = Instant::now();
    stream.write_all(request).await.unwrap();
    let mut answer: Vec<u8> = Vec::with_capacity(16 * 1024);
    let (mut looked, mut first) = (0, true);
    loop {
        let read = stream.read_buf(&mut answer).await.unwrap();
        let text = &answer[looked..];
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        // Events are taken whole: what is cut is looked at with the next read.
        let whole = memchr::memmem::rfind(text, b"\n\n").map_or(0, |at| at + 2);
        for event in text[..whole].split(|byte| *byte == b'\n') {
            let Some(at) = find(event, b"\"delta\":\"").filter(|_| event.starts_with(b"data:"))
            else {
                continue;
            };
            if std::mem::take(&mut first) {
                seen.firsts.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            let stamp = event.get(at + 9..at + 9 + STAMP);
            let stamp = stamp.and_then(|stamp| std::str::from_utf8(stamp).ok());
            if let Some(sent) = stamp.and_then(|stamp| u64::from_str_radix(stamp, 16).ok()) {
                let late = EPOCH.elapsed().as_nanos() as f64 - sent as f64;
                seen.late.push(late / 1e6);
            }
        }
        looked += whole;
        if is_whole(&answer, streamed) {
            break;
        }
    }
    let completed = find(&answer, b"\"status\":\"completed\"").is_some();
    assert!(completed, "{}", String::from_utf8_lossy(&answer));
    seen.answers += 1;
}

fn is_whole(answer: &[u8], streamed: bool) -> bool {
    if streamed {
        return answer.ends_with(b"\r\n0\r\n\r\n");
    }
    let Some(head_end) = find(answer, b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..head_end]).to_lowercase();
    let length = head.split_once("content-length: ").map(|(_, rest)| rest);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head_end + 4 + length)
}

fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * at) as usize;
    values
        .get(place.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
