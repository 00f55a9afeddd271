//! The documents of the tree, as far as tests look into them: blocks of code, headings, links.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A document.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where it lies, from the top of the tree.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
}

/// A fenced block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// What stands behind the fence.
    pub(crate) language: String,
    /// What stands in it.
    pub(crate) text: String,
}

/// A line of a document, by where it stands.
enum Line<'a> {
    Prose(&'a str),
    Opening(&'a str),
    Code(&'a str),
    Closing,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One document.
pub(crate) fn page(path: impl AsRef<Path>) -> Page {
    let path = path.as_ref().to_owned();
    let text = fs::read_to_string(root().join(&path)).expect("a document is there");
    Page { path, text }
}

/// All documents: those at the top, and the book.
pub(crate) fn pages() -> Vec<Page> {
    let mut found: Vec<PathBuf> = ["", "docs"].into_iter().flat_map(documents_in).collect();
    found.sort();
    found.into_iter().map(page).collect()
}

fn documents_in(folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(root().join(folder)).expect("a folder of documents");
    let names = files.flatten().map(|file| PathBuf::from(file.file_name()));
    let documents = names.filter(|name| name.extension().is_some_and(|end| end == "md"));
    documents.map(|name| Path::new(folder).join(name)).collect()
}

impl Page {
    /// Its blocks of code, in order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for line in self.lines() {
            match line {
                Line::Opening(language) => blocks.push(Block {
                    language: language.to_owned(),
                    text: String::new(),
                }),
                Line::Code(line) => {
                    let block = blocks.last_mut().expect("a block is open");
                    block.text += line;
                    block.text.push('\n');
                }
                Line::Prose(_) | Line::Closing => {}
            }
        }
        blocks
    }

    /// The texts of its blocks in one language.
    pub(crate) fn blocks_in(&self, language: &str) -> Vec<String> {
        let blocks = self.blocks().into_iter();
        let blocks = blocks.filter(|block| block.language == language);
        blocks.map(|block| block.text).collect()
    }

    /// Its headings, with their `#`.
    pub(crate) fn headings(&self) -> Vec<&str> {
        let is_heading =
            |line: &&str| line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
        self.prose().into_iter().filter(is_heading).collect()
    }

    /// The names by which a link finds its headings, on GitHub and in mdbook alike: both keep letters, digits,
    /// `-` and `_`, make a dash of a blank, and count those that come again.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for heading in self.headings() {
            let words = heading.trim_start_matches('#').trim();
            let kept = words.chars().filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
                _ => None,
            });
            let name = kept.collect::<String>().to_lowercase();
            let mut unique = name.clone();
            for n in 1.. {
                if anchors.insert(unique) {
                    break;
                }
                unique = format!("{name}-{n}");
            }
        }
        anchors
    }

    /// Where its links lead.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose = without_code(&self.prose().join("\n"));
        let behind = prose.split("](").skip(1);
        behind
            .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
            .collect()
    }

    /// Its lines outside of code.
    fn prose(&self) -> Vec<&str> {
        let lines = self.lines().into_iter();
        let prose = lines.filter_map(|line| match line {
            Line::Prose(line) => Some(line),
            _ => None,
        });
        prose.collect()
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let mut in_code = false;
        let lines = self.text.lines().map(|line| {
            let fence = line.trim_start().strip_prefix("```");
            in_code ^= fence.is_some();
            match fence {
                Some(language) if in_code => Line::Opening(language),
                Some(_) => Line::Closing,
                None if in_code => Line::Code(line),
                None => Line::Prose(line),
            }
        });
        lines.collect()
    }
}

/// Text without what stands in backticks.
fn without_code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        out += &rest[..start];
        let ticks = rest[start..].bytes().take_while(|b| *b == b'`').count();
        let inside = &rest[start + ticks..];
        let Some(end) = inside.find(&"`".repeat(ticks)) else {
            return out + inside;
        };
        rest = &inside[end + ticks..];
    }
    out + rest
}
