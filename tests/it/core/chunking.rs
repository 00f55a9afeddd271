//! The network may cut an answer anywhere: the same bytes give the same events.

use antiphon::translate::ToolMap;

use super::support::{profile_of, recordings, run};

/// Recordings up to this size are cut at each byte, larger ones at a few hundred places.
const SMALL: usize = 2_000;

#[test]
fn every_cut_of_every_recording_gives_the_same_events() {
    for path in recordings(".sse")
        .into_iter()
        .chain(recordings("-plain.json"))
    {
        let bytes = std::fs::read(&path).expect("a recording reads");
        let profile = profile_of(&path);
        let whole = run(&[&bytes], &profile, ToolMap::default());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(
            run(&single, &profile, ToolMap::default()),
            whole,
            "byte by byte: {}",
            path.display()
        );
        let step = if bytes.len() <= SMALL {
            1
        } else {
            bytes.len() / 300 + 1
        };
        for at in (0..bytes.len()).step_by(step) {
            let (a, b) = bytes.split_at(at);
            assert_eq!(
                run(&[a, b], &profile, ToolMap::default()),
                whole,
                "cut at {at}: {}",
                path.display()
            );
        }
    }
}
