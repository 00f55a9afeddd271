//! Ids that no other response has, on this machine or another.

use std::cell::RefCell;

use crate::time::unix_now_ms;

/// How many bytes of an id are chance.
const CHANCE: usize = 10;
/// How many ids the system is asked at once for the chance of.
const AT_ONCE: usize = 25;

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(Stock { chances: [[0; CHANCE]; AT_ONCE], left: 0 }) };
}

/// Chance that no id has yet.
struct Stock {
    chances: [[u8; CHANCE]; AT_ONCE],
    left: usize,
}

impl Stock {
    /// Takes as much as an id needs. A system without randomness leaves zeros; the time alone still
    /// tells most ids apart.
    fn take(&mut self) -> [u8; CHANCE] {
        if self.left == 0 {
            self.left = AT_ONCE;
            let _ = getrandom::fill(self.chances.as_flattened_mut());
        }
        self.left -= 1;
        let chance = self.chances.get_mut(self.left);
        chance.map(std::mem::take).unwrap_or_default()
    }
}

/// 32 hex digits: 12 of the time in milliseconds, so that ids sort by age, and 20 of chance.
#[must_use]
pub(crate) fn new_id() -> String {
    let chance = STOCK.with_borrow_mut(Stock::take);
    let time = unix_now_ms().to_be_bytes();
    let bytes = time.iter().skip(2).chain(&chance);
    bytes
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(hex)
        .collect()
}

/// A hex digit.
fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_with_the_time_and_goes_on_with_chance() {
        let before = format!("{:012x}", unix_now_ms());
        let (one, other) = (new_id(), new_id());
        let after = format!("{:012x}", unix_now_ms());
        for id in [&one, &other] {
            assert_eq!(id.len(), 32);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert!((&*before..=&*after).contains(&&id[..12]), "{id}");
        }
        assert_ne!(one[12..], other[12..]);
        let ids: std::collections::HashSet<String> = (0..3 * AT_ONCE)
            .map(|_| new_id()[12..].to_owned())
            .collect();
        assert_eq!(ids.len(), 3 * AT_ONCE);
    }
}
