//! logherald watches log files on a server, matches the operators' patterns, holds back what would be noise *and says
//! how much it held back*, and tells Google Chat.
//!
//! # The way of a line
//!
//! ```text
//!  notify ──rings──▶ bell                                          ┌──────── outcome ─────────┐
//!                     │                                             ▼                          │
//!  inode ─▶ tail ─block─▶ rules ─hits─▶ judge ─alerts─▶ chat::card ─▶ store ─row─▶ deliver ─▶ chat ─▶ HTTP
//!           reader thread                one task        (renders)     one thread   one task a space
//! ```
//!
//! A bell is a hint and carries no data. [`tail`] gives complete lines as one borrowed block; [`rules`] searches the block
//! as a whole and copies only what hits; [`judge`] decides what is to be said, when and to whom, without a clock and
//! without I/O; the desk in [`agent`] has [`chat`] draw it, and [`store`] commits it together with the positions behind it;
//! only then does [`deliver`] send it, the same bytes under the same id however often. What became of it goes back to
//! the judge, whose ledger accounts for every hit.
//!
//! # The map
//!
//! The modules below stand in the order in which a line meets them. First the shared words, small files that import
//! only each other; then the stages, which meet each other only through those words; then [`config`], which builds
//! what each stage is told and is seen by none of them; [`agent`], which wires and spawns; [`cli`], the face.
//! `tests/architecture.rs` holds all this.
//!
//! # What always holds
//!
//! - A position is never committed ahead of the hits before it, a message never sent before it is committed.
//! - One id has one body, for ever.
//! - `hits = shown + told + below + seen + lost + pending + muted + inhibited`, per rule, at every instant.
//! - Reading never waits for Chat; every queue and map has a bound with a name.
//! - Time is read in [`time`] alone, and a deadline means the same instant after a restart.
//! - No byte of a log reaches a space unescaped or unredacted, or the agent's own log at all.

pub mod alert;
pub mod hit;
pub mod line;
pub mod message;
pub mod redact;
pub mod state;
pub mod template;
pub mod time;

pub mod tail;

pub mod rules;

pub mod judge;

pub mod store;

pub mod deliver;

pub mod chat;

pub mod config;

pub mod agent;

pub mod cli;
