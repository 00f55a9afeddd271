//! Events out, as bytes.

/// The sentinel that ends a stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// Writes one event: its name, and the JSON that `data` writes.
pub fn write_event(out: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    data(out);
    out.extend_from_slice(b"\n\n");
}
