use super::*;

fn decode(pieces: &[&[u8]]) -> Vec<String> {
    let mut decoder = Decoder::new(1024);
    let mut out = Vec::new();
    let mut keep = |data: &[u8]| out.push(String::from_utf8(data.to_vec()).unwrap());
    for piece in pieces {
        decoder.push(piece, &mut keep).unwrap();
    }
    decoder.finish(&mut keep);
    out
}

/// The same events come out however the bytes are cut: in two at every place, and one at a time.
fn decodes_to(bytes: &[u8], expected: &[&str]) {
    assert_eq!(decode(&[bytes]), expected, "whole");
    for at in 0..=bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(decode(&[a, b]), expected, "cut at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single), expected, "byte by byte");
}

#[test]
fn an_event_ends_at_a_blank_line() {
    decodes_to(b"data: a\n\ndata:b\n\n", &["a", "b"]);
}

#[test]
fn lines_may_end_in_any_of_three_ways() {
    decodes_to(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]);
}

#[test]
fn several_data_lines_are_one_event() {
    decodes_to(b"data: a\ndata: b\r\ndata:\r\n\r\n", &["a\nb\n"]);
}

#[test]
fn comments_and_other_fields_are_passed_over() {
    decodes_to(
        b": hello\n\nevent: x\nid: 7\nretry: 10\ndatabase: no\ndata: a\n: more\n\n",
        &["a"],
    );
}

#[test]
fn only_one_blank_after_the_colon_is_taken_off() {
    decodes_to(b"data:  a \n\ndata\n\n", &[" a ", ""]);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    decodes_to(b"\xef\xbb\xbfdata: a\n\n", &["a"]);
}

#[test]
fn an_event_without_its_blank_line_counts_at_the_end() {
    decodes_to(b"data: a\n\ndata: b", &["a", "b"]);
    decodes_to(b"data: a\n\ndata: b\n", &["a", "b"]);
}

#[test]
fn an_event_that_is_too_long_is_refused() {
    let mut decoder = Decoder::new(8);
    assert_eq!(
        decoder.push(b"data: 123456789", |_| {}),
        Err(TooLong { limit: 8 })
    );
    let mut decoder = Decoder::new(16);
    assert!(
        decoder
            .push(b"data: 12345\ndata: 67890\ndata: 123456\n", |_| {})
            .is_err()
    );
}
