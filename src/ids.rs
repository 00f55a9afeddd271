//! Ids that no other response has, on this machine or another.

use crate::time::unix_now_ms;

/// 32 hex digits: 12 of the time in milliseconds, so that ids sort by age, and 20 of chance.
#[must_use]
pub(crate) fn new_id() -> String {
    let mut chance = [0_u8; 10];
    // A system without randomness leaves zeros; the time alone still tells most ids apart.
    let _ = getrandom::fill(&mut chance);
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
    }
}
