//! Every integration test, in one binary: one link, one run. Each module is one question.
#![allow(missing_docs, reason = "tests are read, not documented")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the verdict, and its story is printed"
)]

mod architecture;
mod harness;

mod alive;
mod backtest;
mod chat_bodies;
mod check;
mod config_errors;
mod crash;
mod delivery;
mod doctor;
mod edits;
mod end_to_end;
mod faults_doc;
mod folded;
mod full_disk;
mod host_credentials;
mod journal;
mod judge_ledger;
mod judge_memory;
mod judge_rules;
mod judge_story;
mod load;
mod loghub;
mod logrotate;
mod network;
mod novelty;
mod outbox;
mod packaging;
mod readme;
mod redaction;
mod restart;
mod rules_doc;
mod scan;
mod scenarios;
mod secrets;
mod silence;
mod stdin;
mod steps;
mod store;
mod storm;
mod storms;
mod strain;
mod tail;
mod tap;
mod terminal;
mod troubles;
