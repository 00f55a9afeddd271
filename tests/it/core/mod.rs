//! Tests of the pure core, and of the tree's own rules: no process, no network.

mod chunking;
mod corpus;
mod deploy;
mod docs;
mod golden;
mod lowering;
mod profiles;
mod properties;
mod streams;
mod support;
mod tidy;
