//! The list of metrics that dashboard and alerts may ask for, and whether what is scraped is as it says.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::{BTreeMap, BTreeSet};

/// The metrics that there are, each with what it is (`counter`, `gauge`, `histogram`) and its labels.
pub(crate) fn listed() -> BTreeMap<String, (String, String)> {
    let rows = include_str!("../../deploy/metrics.tsv").lines();
    let rows = rows.map(|row| match row.split('\t').collect::<Vec<_>>()[..] {
        [name, kind, labels] => (name.to_owned(), (kind.to_owned(), labels.to_owned())),
        _ => panic!("no row of the list: {row}"),
    });
    rows.collect()
}

/// The metric that a series belongs to: histograms have several series.
pub(crate) fn metric_of<'a>(
    series: &'a str,
    listed: &BTreeMap<String, (String, String)>,
) -> &'a str {
    let ends = ["_bucket", "_sum", "_count"].into_iter();
    let mut bases = ends.filter_map(|end| series.strip_suffix(end));
    let histogram = bases.find(|base| {
        listed
            .get(*base)
            .is_some_and(|(kind, _)| kind == "histogram")
    });
    histogram.unwrap_or(series)
}

/// Checks that each series of ours is in the list, with the same labels.
pub(crate) fn check(scrape: &str) {
    let listed = listed();
    for line in scrape.lines().filter(|line| line.starts_with("antiphon_")) {
        let (series, rest) = line.split_at(line.find([' ', '{']).unwrap_or(line.len()));
        let metric = metric_of(series, &listed);
        let Some((kind, labels)) = listed.get(metric) else {
            panic!("tests/deploy/metrics.tsv does not have {series}");
        };
        let mut wanted: BTreeSet<&str> =
            labels.split(',').filter(|name| !name.is_empty()).collect();
        if series.ends_with("_bucket") && kind == "histogram" {
            wanted.insert("le");
        }
        assert_eq!(labels_of(rest), wanted, "{line}");
    }
}

/// The names in `{one="…",other="…"} 1`.
fn labels_of(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some((name, value)) = rest.split_once("=\"") {
        names.insert(name.trim_start_matches(['{', ',']));
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = end.map_or("", |end| &value[end + 1..]);
    }
    names
}
