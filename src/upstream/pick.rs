//! In which order the upstreams of a route are asked. Nobody is left out: who is not well comes
//! last, so that a request always has someone to ask.

use super::breaker::Standing;
use crate::time::Instant;

/// Which of several upstreams is asked first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that is well.
    #[default]
    Fallback,
    /// Each as often as its weight says.
    Weighted,
    /// The one with the fewest requests in flight.
    LeastBusy,
}

/// How many more requests than the least busy one an upstream may have in flight and still get the
/// conversations that it knows: reading a long prompt anew costs more than a short wait.
const STICKY_SLACK: f64 = 4.0;

/// One of the upstreams to choose from.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'c> {
    /// Its name, and the model's there.
    pub name: (&'c str, &'c str),
    /// Its share; at least 1.
    pub weight: u32,
    /// How good an idea it is to ask it.
    pub standing: Standing,
    /// Requests in flight.
    pub in_flight: usize,
    /// It takes no more at a time.
    pub full: bool,
}

impl Candidate<'_> {
    fn load(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        let in_flight = self.in_flight as f64;
        in_flight / f64::from(self.weight.max(1))
    }

    /// Its score for a key: the highest score is chosen. Each key has its own order, a candidate
    /// comes first for its share of the keys, and who is taken away changes the order of nobody else
    /// (weighted rendezvous hashing).
    fn score(&self, key: &str) -> f64 {
        let mut hash = Hash::new();
        hash.add(key.as_bytes());
        hash.add(self.name.0.as_bytes());
        hash.add(self.name.1.as_bytes());
        -f64::from(self.weight.max(1)) / hash.fraction().ln()
    }

    /// Who is well, who is busy, who is out; among the latter two the one that is back first.
    fn tier(&self) -> (u8, Option<Instant>) {
        match self.standing {
            Standing::Ready if !self.full => (0, None),
            Standing::Ready => (1, None),
            Standing::Busy(until) => (1, Some(until)),
            Standing::Out(until) => (2, Some(until)),
        }
    }
}

/// The places of the candidates in the order in which they are asked. `sticky` is what requests that
/// share a prompt have in common; `id` is the request's own, which nobody shares.
#[must_use]
pub fn order(
    strategy: Strategy,
    sticky: Option<&str>,
    id: &str,
    candidates: &[Candidate<'_>],
) -> Vec<usize> {
    let least = candidates
        .iter()
        .filter(|candidate| candidate.tier().0 == 0)
        .map(Candidate::load)
        .fold(f64::INFINITY, f64::min);
    let mut ranked: Vec<(usize, (u8, Option<Instant>), f64)> = candidates
        .iter()
        .enumerate()
        .map(|(at, candidate)| {
            let rank = match (strategy, sticky) {
                (Strategy::Fallback, _) => 0.0,
                (Strategy::Weighted, key) => -candidate.score(key.unwrap_or(id)),
                (Strategy::LeastBusy, Some(key)) if candidate.load() <= least + STICKY_SLACK => {
                    -candidate.score(key)
                }
                // Behind all of those: their scores make their ranks negative.
                (Strategy::LeastBusy, Some(_)) => candidate.load(),
                // Chance decides among equals.
                (Strategy::LeastBusy, None) => {
                    candidate.load() + 1e-6 / (1.0 + candidate.score(id))
                }
            };
            (at, candidate.tier(), rank)
        })
        .collect();
    // Stable: what is equal stays in the configuration's order.
    ranked.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)));
    ranked.into_iter().map(|(at, _, _)| at).collect()
}

/// FNV-1a with a finaliser: the same on every machine and in every version, so that proxies side by
/// side agree.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        // A part ends with a byte that no text has.
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A number between 0 and 1, neither of them.
    fn fraction(&self) -> f64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let fraction = (hash >> 11) as f64 + 0.5;
        fraction / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn candidate<'c>(name: &'c str, weight: u32) -> Candidate<'c> {
        Candidate {
            name: (name, "m"),
            weight,
            standing: Standing::Ready,
            in_flight: 0,
            full: false,
        }
    }

    fn first(strategy: Strategy, key: Option<&str>, id: &str, all: &[Candidate<'_>]) -> usize {
        order(strategy, key, id, all)[0]
    }

    #[test]
    fn the_first_that_is_well_comes_first_and_nobody_is_left_out() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut all = [
            candidate("a", 1),
            candidate("b", 1),
            candidate("c", 1),
            candidate("d", 1),
        ];
        assert_eq!(order(Strategy::Fallback, None, "x", &all), [0, 1, 2, 3]);
        all[0].standing = Standing::Out(later);
        all[1].standing = Standing::Out(now);
        all[2].standing = Standing::Busy(later);
        assert_eq!(order(Strategy::Fallback, None, "x", &all), [3, 2, 1, 0]);
        all[3].full = true;
        for strategy in [Strategy::Fallback, Strategy::Weighted, Strategy::LeastBusy] {
            assert_eq!(
                order(strategy, Some("k"), "x", &all),
                [3, 2, 1, 0],
                "{strategy:?}"
            );
        }
    }

    #[test]
    fn weights_are_shares() {
        let all = [candidate("a", 1), candidate("b", 3)];
        let ids = (0..4000).map(|n| n.to_string());
        let to_b = ids
            .filter(|id| first(Strategy::Weighted, None, id, &all) == 1)
            .count();
        assert!((2850..3150).contains(&to_b), "{to_b} of 4000");
    }

    #[test]
    fn a_conversation_stays_where_it_is_as_long_as_that_is_well() {
        let mut all = [candidate("a", 1), candidate("b", 1), candidate("c", 1)];
        let keys: Vec<String> = (0..300).map(|n| format!("thread-{n}")).collect();
        let place = |all: &[Candidate<'_>], key: &String, id: &str| {
            first(Strategy::Weighted, Some(key), id, all)
        };
        let before: Vec<usize> = keys.iter().map(|key| place(&all, key, "1")).collect();
        let again: Vec<usize> = keys.iter().map(|key| place(&all, key, "2")).collect();
        assert_eq!(before, again);
        all[1].standing = Standing::Out(Instant::now());
        for (key, was) in keys.iter().zip(&before) {
            let is = place(&all, key, "3");
            assert!(is == *was || *was == 1, "{key} moved from {was} to {is}");
            assert_ne!(is, 1);
        }
    }

    #[test]
    fn the_least_busy_one_comes_first() {
        let mut all = [candidate("a", 1), candidate("b", 1), candidate("c", 4)];
        all[0].in_flight = 3;
        all[1].in_flight = 2;
        all[2].in_flight = 4;
        assert_eq!(order(Strategy::LeastBusy, None, "x", &all), [2, 1, 0]);
    }

    #[test]
    fn a_conversation_leaves_who_is_much_busier() {
        let mut all = [candidate("a", 1), candidate("b", 1)];
        let key = (0..99)
            .map(|n| n.to_string())
            .find(|key| first(Strategy::LeastBusy, Some(key), "x", &all) == 0);
        let key = key.unwrap();
        all[0].in_flight = 4;
        assert_eq!(first(Strategy::LeastBusy, Some(&key), "x", &all), 0);
        all[0].in_flight = 5;
        assert_eq!(first(Strategy::LeastBusy, Some(&key), "x", &all), 1);
    }

    #[test]
    fn equals_share_by_chance() {
        let all = [candidate("a", 1), candidate("b", 1)];
        let to_a = (0..1000)
            .filter(|n| first(Strategy::LeastBusy, None, &n.to_string(), &all) == 0)
            .count();
        assert!((400..600).contains(&to_a), "{to_a} of 1000");
    }
}
