//! Histograms without locks: a stream counts by itself, and adds what it counted now and then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// How many bounds each histogram has; what is above the last one has a bucket of its own.
const BOUNDS: usize = 14;

/// The upper bounds of a histogram's buckets, in seconds.
pub(super) type Bounds = [f64; BOUNDS];

/// Between two pieces of an answer: from a fast machine's to a stall.
pub(super) const GAPS: Bounds = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Until the first piece of an answer: models read long prompts for minutes.
pub(super) const FIRST: Bounds = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
/// Until the end of an answer.
pub(super) const WHOLE: Bounds = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];
/// One operation of the store.
pub(super) const STORE: Bounds = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// How often something took how long.
#[derive(Clone)]
pub(super) struct Histogram(Arc<Inner>);

struct Inner {
    bounds: &'static Bounds,
    /// One for each bound, and one for what is above.
    buckets: [AtomicU64; BOUNDS + 1],
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static Bounds) -> Self {
        Self(Arc::new(Inner {
            bounds,
            buckets: Default::default(),
            nanos: AtomicU64::new(0),
        }))
    }

    /// Counts one.
    pub(super) fn observe(&self, took: Duration) {
        let bucket = bucket(self.0.bounds, took);
        if let Some(bucket) = self.0.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    /// Adds what a stream counted, which begins anew.
    pub(super) fn add(&self, tally: &mut Tally) {
        let Tally { counts, nanos, .. } = std::mem::take(tally);
        for (bucket, count) in self.0.buckets.iter().zip(counts) {
            if count > 0 {
                bucket.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
        self.0.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").finish_non_exhaustive()
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let above = [f64::INFINITY];
        let bounds = self.0.bounds.iter().chain(&above);
        let counts = self.0.buckets.iter().map(|n| n.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.copied().zip(counts).collect();
        // Counted anew out of the buckets, so that a scrape in the middle of an addition is whole.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let nanos = self.0.nanos.load(Ordering::Relaxed);
        let sum = Duration::from_nanos(nanos).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Makes the histograms of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct With(pub(super) &'static Bounds);

impl MetricConstructor<Histogram> for With {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0)
    }
}

/// Gaps between the pieces of one answer, counted by itself.
#[derive(Debug, Default)]
pub struct Tally {
    counts: [u32; BOUNDS + 1],
    all: u32,
    nanos: u64,
}

impl Tally {
    /// Counts a gap.
    pub fn observe(&mut self, gap: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(&GAPS, gap)) {
            *count += 1;
        }
        self.all += 1;
        self.nanos += nanos(gap);
    }

    /// How many it has.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.all
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }
}

/// The place of the first bound that is not below.
fn bucket(bounds: &Bounds, took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    bounds.iter().take_while(|bound| **bound < seconds).count()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
