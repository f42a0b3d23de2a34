//! A histogram of durations in fixed memory: log-linear buckets of relaxed atomics.
//!
//! Sixteen buckets per power of two, so a quantile is known within 3.2 %. One add per recorded value, no lock, no allocation.
//! Durations below 1 µs share sixteen buckets of 64 ns; those above an hour count as the longest bucket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Smallest step: 2^6 ns.
const UNIT_BITS: u32 = 6;
/// 2^4 buckets per power of two.
const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;
/// Powers of two above the linear part: up to 2^42 ns, 73 minutes.
const OCTAVES: usize = 32;
const BUCKETS: usize = SUB * (OCTAVES + 1);

/// Durations being recorded.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    /// Of nanoseconds.
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]), sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts `value`.
    pub fn record(&self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[index(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Adds what was recorded so far to `total`.
    pub fn add_to(&self, total: &mut Distribution) {
        for (total, bucket) in total.buckets.iter_mut().zip(self.buckets.iter()) {
            *total += bucket.load(Ordering::Relaxed);
        }
        total.sum_nanos = total.sum_nanos.wrapping_add(self.sum.load(Ordering::Relaxed));
    }
}

/// Histograms summed up at one moment.
#[derive(Clone, Debug)]
pub struct Distribution {
    buckets: Vec<u64>,
    sum_nanos: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], sum_nanos: 0 }
    }
}

impl Distribution {
    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The value below which `share` (of 0 to 1) of all values are; `None` if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for (bucket, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return Some(Duration::from_nanos((lower(bucket) + lower(bucket + 1)) / 2));
            }
        }
        None
    }

    /// How many values were below 2^`bits` ns. Exact, because powers of two are borders of buckets.
    #[must_use]
    pub fn below(&self, bits: u32) -> u64 {
        self.buckets[..index(1 << bits)].iter().sum()
    }
}

/// The bucket of a value.
fn index(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < SUB as u64 {
        return usize::try_from(units).expect("below 16");
    }
    let exponent = units.ilog2() - SUB_BITS;
    let within = usize::try_from(units >> exponent).expect("below 32") - SUB;
    let octave = exponent as usize + 1;
    (octave * SUB + within).min(BUCKETS - 1)
}

/// The least value of a bucket, in nanoseconds.
fn lower(bucket: usize) -> u64 {
    let (octave, within) = (bucket / SUB, bucket % SUB);
    let units = if octave == 0 { within as u64 } else { ((SUB + within) as u64) << (octave - 1) };
    units << UNIT_BITS
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, Distribution, Histogram, index, lower};

    fn distribution(values: impl IntoIterator<Item = u64>) -> Distribution {
        let histogram = Histogram::default();
        for nanos in values {
            histogram.record(Duration::from_nanos(nanos));
        }
        let mut total = Distribution::default();
        histogram.add_to(&mut total);
        total
    }

    #[test]
    fn every_bucket_begins_where_it_says() {
        for bucket in 0..BUCKETS {
            assert_eq!(index(lower(bucket)), bucket);
            assert_eq!(index(lower(bucket + 1) - 1), bucket);
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_five_percent() {
        for scale in [1_000u64, 17_000, 1_000_000, 250_000_000] {
            let total = distribution((1..=10_000).map(|n| n * scale / 100));
            for (share, exact) in [(0.5, 50 * scale), (0.9, 90 * scale), (0.99, 99 * scale)] {
                let nanos = total.quantile(share).expect("not empty").as_nanos() as f64;
                let error = (nanos - exact as f64).abs() / exact as f64;
                assert!(error < 0.05, "p{share} of {scale}: {nanos} instead of {exact}");
            }
        }
    }

    #[test]
    fn powers_of_two_are_exact_bounds() {
        let total = distribution([1 << 20, (1 << 20) - 1, 5, 1 << 33]);
        assert_eq!(total.below(20), 2);
        assert_eq!(total.below(21), 3);
        assert_eq!(total.count(), 4);
        assert_eq!(total.sum(), Duration::from_nanos((2 << 20) - 1 + 5 + (1 << 33)));
    }

    #[test]
    fn empty_has_no_quantile() {
        assert_eq!(distribution([]).quantile(0.5), None);
    }
}
